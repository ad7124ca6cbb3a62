"""A server that speaks the OpenAI API, and means ill: markup everywhere, and keys sent back."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

# Each would set a flag on the page, change its title, or ask a host for something.
RUNS = "document.title='OWNED';document.documentElement.dataset.owned='yes'"
SCRIPT = f"<script>{RUNS}</script>"
MARKUP = (
    f'</td></pre></style></title>-->"\'>{SCRIPT}<img src="http://owned.invalid/x.png" '
    f'onerror="{RUNS}"><svg/onload="{RUNS}"><iframe src="http://owned.invalid/f"></iframe>'
    '<link rel="stylesheet" href="http://owned.invalid/x.css">'
)
MODEL = f"m{MARKUP}$\\frac{{x$ \x1b]0;OWNED\x07 javascript:{RUNS} [x](javascript:{RUNS})"
TOKENS = 8


class Evil(BaseHTTPRequestHandler):
    """Every seventh answer is an error; it holds the request's own headers."""

    protocol_version = "HTTP/1.1"
    count: ClassVar[int] = 0

    def do_GET(self) -> None:
        """The list of models, and nothing else."""
        if self.path == "/v1/models":
            self._whole(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        elif self.path == "/version":
            self._whole(200, {"version": f"1 {self.headers.get('Authorization')} {MARKUP}"})
        else:
            self._whole(404, {"error": MARKUP})

    def do_POST(self) -> None:
        """An answer in chunks, or an error that repeats the key."""
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).count += 1
        key = self.headers.get("Authorization", "")
        if self.count % 7 == 0:
            coded = base64.b64encode(key.encode()).decode()
            padding = "x" * (450 if self.count % 2 else 0)  # so that the key lies at the cut
            told = f"{padding}{key} {coded} {MARKUP} {dict(self.headers)}"
            self._whole(500, {"error": {"message": told}})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for place in range(TOKENS + 1):
            delta = {"content": MARKUP} if place < TOKENS else {}
            choice = {"index": 0, "delta": delta, "finish_reason": None}
            if place == TOKENS:
                choice["finish_reason"] = f"{key} {MARKUP}"
            self._event({"choices": [choice]})
        self._event({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": TOKENS}})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, fields: dict) -> None:
        said = {"id": f"{self.headers.get('Authorization')} {MARKUP}", "model": MODEL, **fields}
        self._chunk(b"data: " + json.dumps(said).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _whole(self, status: int, said: dict) -> None:
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def evil() -> Iterator[str]:
    """The server on a free port of the loopback; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
