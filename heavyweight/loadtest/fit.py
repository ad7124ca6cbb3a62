"""The load at which a share of bad values reaches what is allowed, from all probes together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def crossing(
    loads: Sequence[float], bad: Sequence[float], n: Sequence[float], allowed: float
) -> float | None:
    """Centred isotonic regression of the share of bad values on the log of the load, inverted.

    All that is assumed of a server is that a higher load is not better; a logistic curve would
    claim a shape, and the share jumps from nothing to nearly all within a few percent of load at
    some servers and over a factor at others. Blocks of loads that break the order are pooled and
    stand at the mean of their log loads; between blocks the curve is a straight line (Oron &
    Flournoy 2017, "Centered isotonic regression: point and interval estimation for dose-response
    studies", Statistics in Biopharmaceutical Research 9(3), section 2).

    Args:
        loads: all different, positive.
        bad: bad values at each load.
        n: values at each load; loads without any are left out.
        allowed: the share that is looked for.

    Returns:
        The load; None where the share does not pass what is allowed between two of the loads.
    """
    points = sorted((np.log(x), b / m, m) for x, b, m in zip(loads, bad, n, strict=True) if m > 0)
    blocks: list[tuple[float, float, float]] = []  # log load, share, weight
    for point in points:
        block = point
        while blocks and blocks[-1][1] >= block[1]:
            if blocks[-1][1] == block[1] in (0.0, 1.0):
                break  # a flat end is no noise: its inner edge is kept
            x, share, weight = blocks.pop()
            total = weight + block[2]
            block = (
                (x * weight + block[0] * block[2]) / total,
                (share * weight + block[1] * block[2]) / total,
                total,
            )
        blocks.append(block)
    for (x0, y0, _), (x1, y1, _) in pairwise(blocks):
        if y0 <= allowed < y1:
            return float(np.exp(x0 + (x1 - x0) * (allowed - y0) / (y1 - y0)))
    return None
