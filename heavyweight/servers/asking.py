"""Short questions to a server on this machine, outside the measured load."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from heavyweight.errors import ServerError
from heavyweight.load.address import is_loopback


class _Stay(urllib.request.HTTPRedirectHandler):
    """A server that names another place is not followed there, where headers would be sent too."""

    def redirect_request(self, *_: Any) -> None:
        """None: the answer itself, a status of 3xx, is the error."""


# A proxy of the user's must never stand between the study and a server on this machine.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)
_PROXIED = urllib.request.build_opener(_Stay)  # by the environment's proxies

_UNANSWERED = (urllib.error.URLError, http.client.HTTPException, OSError)


def _opener(url: str) -> urllib.request.OpenerDirector:
    return _DIRECT if is_loopback(urllib.parse.urlsplit(url).hostname or "") else _PROXIED


def status_of(url: str, timeout_s: float = 2.0) -> int | None:
    """HTTP status of a GET; None if nobody answered."""
    try:
        with _opener(url).open(url, timeout=timeout_s) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except _UNANSWERED:
        return None


def get_text(url: str, timeout_s: float = 10.0, headers: dict[str, str] | None = None) -> str:
    """Body of a GET.

    Raises:
        ServerError: no answer, or not status 200.
    """
    return _ask(urllib.request.Request(url, headers=headers or {}), timeout_s)


def told(url: str, timeout_s: float = 1.0) -> str:
    """Body of a GET; empty where nobody answers in time, or not well."""
    try:
        return get_text(url, timeout_s)
    except ServerError:
        return ""


def get_json(url: str, timeout_s: float = 10.0, headers: dict[str, str] | None = None) -> Any:
    """Body of a GET, parsed; raises ServerError as :func:`get_text` does."""
    return _parsed(url, get_text(url, timeout_s, headers))


def post_json(url: str, body: dict[str, Any], timeout_s: float = 60.0) -> Any:
    """Answer to a POST of JSON, parsed; raises ServerError as :func:`get_text` does."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    return _parsed(url, _ask(request, timeout_s))


def _ask(request: urllib.request.Request, timeout_s: float) -> str:
    try:
        with _opener(request.full_url).open(request, timeout=timeout_s) as answer:
            return str(answer.read().decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        said = error.read(500).decode("utf-8", "replace")
        raise ServerError(f"{request.full_url} answered {error.code}: {said}", "200") from error
    except _UNANSWERED as error:
        raise ServerError(f"{request.full_url} did not answer: {error}", "status 200") from error


def _parsed(url: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ServerError(f"{url} answered {text[:200]!r}", "JSON") from error
