"""How many blocks a wanted width needs, and how many repetitions inside one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from heavyweight.stats.estimate import NotEstimable

MOST_BLOCKS = 1000
COMPONENTS = "one-way random effects, method of moments"
PLAN = "Student's t of planned blocks, from the spread of a pilot"


@dataclass(frozen=True)
class VarianceComponents:
    """Variance between blocks and inside them, in the square of the data's unit.

    Args:
        between: variance of the blocks' true means.
        within: variance of a value around its block's mean.
        blocks: how many.
        values: how many in all.
        note: what a reader must know; empty if nothing.
    """

    between: float
    within: float
    blocks: int
    values: int
    note: str = ""


def variance_components(
    values_by_block: Sequence[ArrayLike],
) -> VarianceComponents | NotEstimable:
    """Split the variance into that between blocks and that inside them.

    One-way analysis of variance with random blocks: the mean squares are set equal to what they are
    on average; blocks may differ in size (Searle, Casella & McCulloch 1992, section 3.6).

    Args:
        values_by_block: one array of finite values a block; of relative quantities their logs.

    Returns:
        The components; :class:`NotEstimable` with one block, or without a second value in any.

    Raises:
        ValueError: an empty block, or a value that is not finite.
    """
    groups = [np.asarray(v, dtype=float).ravel() for v in values_by_block]
    if any(g.size == 0 for g in groups):
        raise ValueError("a block has no values")
    if any(not np.isfinite(g).all() for g in groups):
        raise ValueError("a value is not finite")
    sizes = np.array([g.size for g in groups])
    blocks, total = len(groups), int(sizes.sum())
    if blocks < 2:
        note = f"needs 2 blocks, has {blocks}: one block does not tell how blocks differ"
        return NotEstimable(2, blocks, COMPONENTS, note)
    if total == blocks:
        note = "one value a block: the two variances cannot be told apart"
        return NotEstimable(2, 1, COMPONENTS, note)
    means = np.array([g.mean() for g in groups])
    overall = float((sizes * means).sum() / total)
    inside = sum(float(((g - m) ** 2).sum()) for g, m in zip(groups, means, strict=True))
    within = inside / (total - blocks)
    mean_square = float((sizes * (means - overall) ** 2).sum()) / (blocks - 1)
    size = (total - float((sizes**2).sum()) / total) / (blocks - 1)
    between = (mean_square - within) / size
    note = ""
    if between < 0:
        note = f"the estimate between blocks is negative ({between:.3g}) and set to 0"
    return VarianceComponents(max(between, 0.0), within, blocks, total, note)


def blocks_needed(sd_log: float, half_width: float, confidence: float = 0.95) -> int:
    """Smallest number of blocks whose interval is as narrow as wanted.

    The smallest B with t(B - 1) sd / sqrt(B) <= log(1 + half_width) (Kalibera & Jones 2013). The
    planned study has a spread of its own: 46 to 55% of all studies planned so reach the width, of
    those planned by :func:`plan` with caution 81 to 83% (benchmarks/statistics).

    Args:
        sd_log: standard deviation over blocks of the log ratio, or of the log of another quantity.
        half_width: wanted, relative: 0.05 is an interval from value / 1.05 to value x 1.05.
        confidence: of the interval.

    Returns:
        Blocks, at least 2; 1,000 stands for 1,000 or more.

    Raises:
        ValueError: sd_log is NaN (a pilot of one block has none) or negative, or half_width is not
            positive.
    """
    if math.isnan(sd_log):
        raise ValueError("the spread is NaN: a pilot of one block has none, two are needed")
    if not 0 <= sd_log < math.inf or not 0 < half_width < math.inf or not 0 < confidence < 1:
        raise ValueError("needs sd_log >= 0, half_width > 0 and a confidence between 0 and 1")
    blocks = np.arange(2, MOST_BLOCKS + 1)
    t = special.stdtrit(blocks - 1, (1 + confidence) / 2)
    enough = np.flatnonzero(t * sd_log / np.sqrt(blocks) <= math.log1p(half_width))
    return int(blocks[enough[0]]) if enough.size else MOST_BLOCKS


@dataclass(frozen=True)
class Plan:
    """How many blocks a study needs.

    Args:
        blocks: if the pilot's spread is the true one.
        cautious: if the true spread is the upper limit of what the pilot allows.
        sd_log: the pilot's standard deviation over blocks, of the log.
        sd_log_upper: its upper one-sided limit.
        note: what a reader must know; empty if nothing.
    """

    blocks: int
    cautious: int
    sd_log: float
    sd_log_upper: float
    note: str = ""


def plan(
    pilot: ArrayLike, half_width: float, confidence: float = 0.95, certainty: float = 0.8
) -> Plan | NotEstimable:
    """Blocks that a study needs, from the ratios or other positive numbers of a pilot's blocks.

    The upper limit of the spread is that of the chi-square distribution, one-sided.

    Args:
        pilot: one positive number a block.
        half_width: wanted, relative.
        confidence: of the study's interval.
        certainty: of the upper limit of the spread.

    Returns:
        The plan; :class:`NotEstimable` with one block, which has no spread.

    Raises:
        ValueError: a number that is not positive and finite, or an impossible width.
    """
    numbers = np.asarray(pilot, dtype=float).ravel()
    if not (np.isfinite(numbers) & (numbers > 0)).all():
        raise ValueError("a value is not positive and finite, so it has no logarithm")
    n = int(numbers.size)
    if n < 2:
        return NotEstimable(2, n, PLAN, f"needs a pilot of 2 blocks, has {n}: no spread")
    sd = float(np.log(numbers).std(ddof=1))
    upper = sd * math.sqrt((n - 1) / float(stats.chi2.ppf(1 - certainty, n - 1)))
    blocks = blocks_needed(sd, half_width, confidence)
    cautious = blocks_needed(upper, half_width, confidence)
    note = f"{MOST_BLOCKS} stands for that many or more" if cautious == MOST_BLOCKS else ""
    return Plan(blocks, cautious, sd, upper, note)


def repetitions(cost_block: float, cost_inside: float, between: float, within: float) -> float:
    """Repetitions inside a block that make the interval narrowest for its cost.

    ceil(sqrt(cost_block / cost_inside x within / between)) (Kalibera & Jones 2013).

    Args:
        cost_block: what a new block costs beyond its repetitions, in seconds.
        cost_inside: what one repetition costs, in seconds.
        between: variance between blocks.
        within: variance between repetitions inside a block.

    Returns:
        A whole number, at least 1; infinity where blocks do not differ, so that all repetitions
        may lie in one.

    Raises:
        ValueError: a cost that is not positive, or a variance that is negative or not finite.
    """
    if not (0 < cost_block < math.inf and 0 < cost_inside < math.inf):
        raise ValueError("costs must be positive and finite")
    if not (0 <= between < math.inf and 0 <= within < math.inf):
        raise ValueError("variances must be finite and not negative")
    if within == 0:
        return 1.0
    if between == 0:
        return math.inf
    return float(max(math.ceil(math.sqrt(cost_block / cost_inside * within / between)), 1))
