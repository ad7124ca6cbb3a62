"""HTTP's chunked framing, taken off after the cell: RFC 9112, section 7.1.

aiohttp's parser hands each chunk of a body to a reader in Python, at about 2 us a chunk while other
streams wait. Here the framed bytes are kept as they came. Whether they are complete is looked at
when they end like a last chunk does, and then once: the walk goes on where it stopped.
"""

from __future__ import annotations

import functools
import re
from array import array
from bisect import bisect_left
from itertools import accumulate

_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;|\Z)")
LINE_LIMIT = 16_384  # bytes of a line of the framing with its extensions, or of a trailer
BLANK = b"\r\n\r\n"  # what a complete framing ends with


@functools.lru_cache(maxsize=4096)  # the chunks of a stream come in few sizes
def _size(line: bytes) -> int | None:
    """The size in the first line of a chunk; None: there is none."""
    match = _SIZE.match(line)
    return int(match[1], 16) if match else None


class Frames:
    """The chunks in framed bytes, as far as they were walked.

    Attributes:
        starts: offset of each chunk's data.
        lengths: length of each chunk's data, the last one's as far as it came.
        end: offset behind the last chunk and its trailers; 0: not there yet.
        problem: what is no framing; empty: nothing found.
    """

    __slots__ = ("_body_ends", "_next", "_partial", "end", "lengths", "problem", "starts")

    def __init__(self) -> None:
        self.starts, self.lengths = array("q"), array("q")
        self.end = 0
        self.problem = ""
        self._next = 0
        self._partial = False  # the last chunk is not complete
        self._body_ends: list[int] = []

    def walk(self, raw: bytes | bytearray) -> bool:
        """Go on to the end of what is there.

        Args:
            raw: the framed bytes from their beginning; longer than at the last call, or the same.

        Returns:
            Whether the framing is complete.
        """
        place, there = self._next, len(raw)
        if self._partial:
            self.starts.pop()
            self.lengths.pop()
            self._partial, self._body_ends = False, []
        while not self.end and not self.problem:
            line_end = raw.find(b"\r\n", place, place + LINE_LIMIT)
            if line_end < 0:
                if there - place >= LINE_LIMIT:
                    self.problem = "a line of the framing without an end"
                break
            size, start = _size(bytes(raw[place:line_end])), line_end + 2
            if size is None:
                self.problem = f"no size of a chunk: {bytes(raw[place:line_end][:40])!r}"
                break
            if not size:
                self._trailers(raw, start)
                break
            behind = start + size
            if behind + 2 > there:
                self._add(start, min(size, there - start))
                self._partial = True
                break
            if raw[behind : behind + 2] != b"\r\n":
                self.problem = f"no line end behind a chunk of {size} bytes"
                break
            self._add(start, size)
            place = behind + 2
        self._next = place
        return self.end > 0

    def _add(self, start: int, length: int) -> None:
        self.starts.append(start)
        self.lengths.append(length)

    def _trailers(self, raw: bytes | bytearray, place: int) -> None:
        """Lines behind the last chunk, up to an empty one."""
        while (line_end := raw.find(b"\r\n", place)) >= 0:
            if line_end == place:
                self.end = place + 2
                return
            place = line_end + 2

    def body(self, raw: bytes | bytearray) -> bytes:
        """The data of the complete chunks, and what came of one that is not complete."""
        chunks = zip(self.starts, self.lengths, strict=True)
        return b"".join([raw[start : start + length] for start, length in chunks])

    def raw_end(self, end: int) -> int:
        """Offset in the framed bytes behind the body's first ``end`` bytes.

        Args:
            end: from 1 to the length of :meth:`body`.
        """
        if len(self._body_ends) != len(self.lengths):
            self._body_ends = list(accumulate(self.lengths))
        index = bisect_left(self._body_ends, end)
        return self.starts[index] + self.lengths[index] - (self._body_ends[index] - end)
