"""Put before all else on PYTHONPATH: each Python tells to whom it opens a connection.

What is asked of the system by a library in C (ZeroMQ, libuv) is not seen here; the namespace
without a network and the look at the sockets of all processes see that.
"""

import json
import os
import sys

TOLD = os.environ.get("TOLD_CONNECTIONS")
EVENTS = {
    "socket.connect", "socket.sendto", "socket.bind", "socket.getaddrinfo",
    "socket.gethostbyname", "socket.gethostbyaddr", "urllib.Request",
}  # fmt: skip


def _told(event: str, arguments: tuple) -> None:
    if event not in EVENTS:
        return
    said = arguments[1] if event in ("socket.connect", "socket.sendto", "socket.bind") else None
    line = json.dumps([event, repr(said or arguments[0]), " ".join(sys.orig_argv[1:4])]) + "\n"
    handle = os.open(TOLD, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())
    os.close(handle)


if TOLD:
    sys.addaudithook(_told)
