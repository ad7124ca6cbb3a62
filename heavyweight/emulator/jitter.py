"""Times that vary: gamma distributed, a function of the seed and the request alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

_BLOCK = 1024


class Jitter:
    """Draws of one server.

    Args:
        seed: of all draws.
        variation: coefficient of variation, above 0.
    """

    def __init__(self, seed: int, variation: float) -> None:
        self._seed = seed
        self._shape = 1 / variation**2  # of a gamma distribution with this coefficient

    def request(
        self, body: bytes, ttft_ns: int, itl_ns: int, steps: int
    ) -> tuple[int, list[int] | None]:
        """The times of one request, whatever came before it; alike requests have alike times.

        Returns: the time to the first token in ns, and of each step its ns after the first token
            (None where the tokens are not paced).
        """
        digest = hashlib.blake2b(body, digest_size=16).digest()
        drawn = np.random.default_rng([self._seed, int.from_bytes(digest, "little")])
        first_ns = int(ttft_ns * drawn.gamma(self._shape) / self._shape)
        if not itl_ns:
            return first_ns, None
        gaps_ns = itl_ns * drawn.gamma(self._shape, size=steps) / self._shape
        gaps_ns[:1] = 0
        return first_ns, np.cumsum(gaps_ns).astype(np.int64).tolist()

    def factors(self) -> Iterator[float]:
        """Of one engine step after the other, by how much it is longer than the mean."""
        drawn = np.random.default_rng([self._seed])
        while True:
            yield from (drawn.gamma(self._shape, size=_BLOCK) / self._shape).tolist()
