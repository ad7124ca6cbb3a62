"""What a stream of tokens said, whatever its format: pure, and never an exception."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from heavyweight.records import ErrorClass

DETAIL = 500  # characters kept of what was seen
SEEN = 2 * DETAIL  # taken first: what is cut off at the end must not be half a key
_ID = 1000  # characters taken of an id


@dataclass
class Stream:
    """What a stream said.

    Args:
        chunk_ends: offset behind each chunk with text, in bytes of the body.
        chunk_bytes: length of each chunk's text in UTF-8.
        prompt_tokens: as the server counted them; None: it did not.
        completion_tokens: the same of the answer.
        ended: whether the end mark came.
        model: the model that the first event names; None: it names none.
        problem: the first thing that makes the stream a failure by itself, with what was seen.
    """

    chunk_ends: list[int] = field(default_factory=list)
    chunk_bytes: list[int] = field(default_factory=list)
    response_id: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    ended: bool = False
    model: str | None = None
    problem: tuple[ErrorClass, str] | None = None

    @property
    def error(self) -> tuple[ErrorClass, str] | None:
        """Why the stream is not a success, given that its connection ended in good order.

        A prompt of no tokens is no count: Ollama leaves the field out where the prompt was cached,
        and its OpenAI routes say 0 then. A chunk with text carries at least one token, in every
        format, so an answer of fewer tokens than such chunks was miscounted.
        """
        chunks = len(self.chunk_ends)
        if self.problem:
            return self.problem
        if not self.ended:
            return ErrorClass.CUT, f"no end mark after {chunks} chunks with text"
        if not chunks:
            return ErrorClass.EMPTY, "the stream ended well and carried no text"
        if not self.prompt_tokens or self.completion_tokens is None:
            return ErrorClass.NO_USAGE, "no count of prompt and completion tokens"
        if self.completion_tokens < chunks:
            tokens = self.completion_tokens
            return ErrorClass.BAD_USAGE, f"{tokens} tokens counted, {chunks} chunks with text came"
        return None

    def fail(self, error: ErrorClass, seen: bytes) -> None:
        """Note the first problem; an error event says more than what it did to the stream."""
        known = self.problem
        if known is None or (error is ErrorClass.ERROR_EVENT and known[0] is not error):
            self.problem = error, excerpt(seen)

    def payload(self, data: bytes, error_event: bool = False) -> dict[str, Any] | None:
        """The JSON object of an event.

        Args:
            data: the event's text, UTF-8.
            error_event: whether it was announced as an error.

        Returns:
            None: it is none, or an error, or comes behind the end mark, and the stream has failed.
        """
        try:
            payload = json.loads(data.decode())
        except (ValueError, RecursionError):
            payload = None
        if error_event or (isinstance(payload, dict) and payload.get("error")):
            self.fail(ErrorClass.ERROR_EVENT, data)
        elif self.ended or not isinstance(payload, dict):
            self.fail(ErrorClass.MALFORMED, data)
        else:
            return payload
        return None

    def text(self, end: int, parts: list[Any]) -> None:
        """Book the text of one event, if it has any.

        Args:
            end: offset behind the event, in bytes of the body.
            parts: of its text; what is not text is passed over.
        """
        size = sum(
            len(part.encode("utf-8", "surrogatepass")) for part in parts if isinstance(part, str)
        )
        if size:
            self.chunk_ends.append(end)
            self.chunk_bytes.append(size)

    def named(self, model: Any) -> None:
        """Take the name of the model that an event says it is of; the first one counts."""
        if self.model is None:
            self.model = storable(model)

    def finish(self, reason: Any) -> None:
        """Take a reason for the end; an event without one changes nothing."""
        self.finish_reason = storable(reason) or self.finish_reason

    def count(self, prompt_tokens: Any, completion_tokens: Any) -> None:
        """Take the server's count; the last one counts, since some servers count as they go."""
        self.prompt_tokens = _tokens(prompt_tokens)
        self.completion_tokens = _tokens(completion_tokens)


def _tokens(value: Any) -> int | None:
    """A number of tokens that can be stored, or nothing."""
    return value if type(value) is int and 0 <= value < 2**31 else None


def storable(value: Any) -> str | None:
    """A string that can be stored, or nothing."""
    if not isinstance(value, str):
        return None
    return value[:_ID].encode("utf-8", "replace").decode("utf-8")


def excerpt(seen: bytes) -> str:
    """The beginning of what was seen, as text that can be stored."""
    return seen[: SEEN * 4].decode("utf-8", "replace")[:SEEN]
