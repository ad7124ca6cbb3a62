"""Coverage-guided fuzz of all that reads an answer. Optional: atheris is no dependency.

Beside the project's environment, with atheris installed there for the same Python::

    PYTHONPATH=.:PROJECT_SITE_PACKAGES python -m tests.load.fuzz_atheris CORPUS -max_total_time=120

The first byte of an input says which API, the second whether the rest is a body for the parser or
a whole answer for a connection, where it cuts the answer, and whether it is compared with the
uncut one. An empty corpus folder is filled with good answers first.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["heavyweight.load", "heavyweight.records"]):
    from heavyweight.load.apis import api_for
    from heavyweight.load.rows import parsed
from tests.load import wires
from tests.load.test_fuzz_streams import check

LOOP = asyncio.new_event_loop()


def fuzz(data: bytes) -> None:
    """One input, which is printed where it fails."""
    try:
        look(data)
    except BaseException:
        print(f"input: {data!r}", file=sys.stderr)
        raise


def look(data: bytes) -> None:
    """What must hold of any input."""
    if len(data) < 3:
        return
    api, manner, rest = wires.APIS[data[0] % 4], data[1], data[2:]
    if manner % 2:
        check(api_for(api), rest)
        return
    step = manner // 2 + 1
    whole = wires.feed(LOOP, api, [rest])
    pieces = wires.feed(LOOP, api, wires.cut(rest, range(step, len(rest), step)))
    LOOP.run_until_complete(asyncio.sleep(0))
    made, expected = (wires.timeless(wires.as_row(exchange)) for exchange in (pieces, whole))
    assert {**made, "error_detail": ""} == {**expected, "error_detail": ""}, (made, expected)
    assert parsed(pieces) == parsed(whole)
    made["error_detail"] = (made["error_detail"] or "").encode("utf-8")  # can be stored


def seeds(folder: Path) -> None:
    """Good answers of each API in each framing."""
    folder.mkdir(exist_ok=True)
    if any(folder.iterdir()):
        return
    for number, api in enumerate(wires.APIS):
        body, events = wires.GOOD[api], wires.events(api)
        odd = wires.chunked(api, wires.cut(body, range(50, len(body), 50))).replace(
            b"\r\n0\r\n\r\n", b"\r\n00;x=y\r\nT: 1\r\n\r\n"
        )
        answers = {1: body, 2: wires.chunked(api, events), 4: wires.sized(api, body),
                   6: wires.closing(api, body), 8: odd}  # fmt: skip
        for manner, answer in answers.items():
            (folder / f"{api}-{manner}").write_bytes(bytes([number, manner]) + answer)


if __name__ == "__main__":
    folders = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    for folder in folders[:1]:
        seeds(folder)
    atheris.Setup(sys.argv, fuzz)
    atheris.Fuzz()
