"""Simulated studies with the structure of a real one, and a truth that is known.

A block makes both arms of it slower or faster (COMMON), each session its own arm (OWN), each cell
itself (CELL). Requests are skewed (lognormal) and come in waves of as many as there are users:
those of a wave resemble each other, and a wave resembles the one before it.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import special

LOADS = np.array([1.0, 2, 4, 8, 16, 32, 50])
COMMON, OWN, CELL = 0.10, 0.04, 0.04  # standard deviations of logs
WAVE, FOLLOWS = 0.5, 0.5  # a wave's share of a request's variance, its likeness to the last wave
SPREAD = (0.5, 0.3)  # of the log latency of a request, by arm

Tails = Literal["normal", "heavy", "skewed"]


def noise(rng: np.random.Generator, shape: tuple[int, ...], tails: Tails = "normal") -> np.ndarray:
    """Numbers of mean 0 and variance 1: normal, of Student's t with 4 degrees, or exponential."""
    if tails == "heavy":
        return rng.standard_t(4, shape) / math.sqrt(2)
    if tails == "skewed":
        return rng.standard_exponential(shape) - 1
    return rng.standard_normal(shape)


def levels(
    rng: np.random.Generator, studies: int, blocks: int, ratio: float, tails: Tails = "normal"
) -> np.ndarray:
    """A statistic of two arms at one load, shape (studies, 2, blocks)."""
    common = COMMON * noise(rng, (studies, 1, blocks), tails)
    own = math.hypot(OWN, CELL) * noise(rng, (studies, 2, blocks), tails)
    if tails == "skewed":
        own[:, 1] = 0.0  # two arms skewed alike would have ratios that are not skewed
    return np.asarray(np.exp(common + own) * np.array([[ratio], [1.0]]))


def waves(
    rng: np.random.Generator, shape: tuple[int, ...], users: int = 8, share: float = WAVE
) -> np.ndarray:
    """Standard normal numbers along the last axis, alike within waves and from wave to wave."""
    *before, n = shape
    count = math.ceil(n / users)
    wave = rng.standard_normal((*before, count))
    for i in range(1, count):
        wave[..., i] = FOLLOWS * wave[..., i - 1] + math.sqrt(1 - FOLLOWS**2) * wave[..., i]
    each = np.repeat(wave, users, axis=-1)[..., :n]
    return math.sqrt(share) * each + math.sqrt(1 - share) * rng.standard_normal(shape)


def latencies(
    rng: np.random.Generator,
    studies: int,
    blocks: int,
    n: int,
    users: int = 8,
    ratio: float = 1.0,
    spread: tuple[float, float] = SPREAD,
) -> np.ndarray:
    """Request latencies of two arms, shape (studies, 2, blocks, n)."""
    inside = waves(rng, (studies, 2, blocks, n), users) * np.reshape(spread, (2, 1, 1))
    return np.asarray(levels(rng, studies, blocks, ratio)[..., None] * np.exp(inside))


def quantile_ratio(ratio: float, q: float, spread: tuple[float, float] = SPREAD) -> float:
    """True ratio of the q-quantiles of :func:`latencies`, in a block without effects."""
    return ratio * math.exp(float(special.ndtri(q)) * (spread[0] - spread[1]))


def mean_ratio(ratio: float, spread: tuple[float, float] = SPREAD) -> float:
    """True ratio of the means of :func:`latencies`, in a block without effects."""
    return ratio * math.exp((spread[0] ** 2 - spread[1] ** 2) / 2)


def crossing_curve(crossing: float, bend: float = 0.0) -> np.ndarray:
    """Log of a ratio at each load that passes 1 at a given load and rises from there.

    From 1 to 50 users it rises as the article's ratio does, from 1.1 to 5.9; a bend makes it
    steeper first, so that it is not linear between the loads.
    """
    x = np.log(LOADS)
    slope = math.log(5.9 / 1.1) / math.log(50)
    at = math.log(crossing)
    return np.asarray(slope * (x - at) - bend * (x * x - at * at) / math.log(50))


def curves(rng: np.random.Generator, studies: int, blocks: int, mean: np.ndarray) -> np.ndarray:
    """Ratios of two arms over the loads, shape (studies, blocks, loads); mean is of the log."""
    session = math.sqrt(2) * OWN * rng.standard_normal((studies, blocks, 1))
    cell = math.sqrt(2) * CELL * rng.standard_normal((studies, blocks, mean.size))
    return np.exp(mean + session + cell)


def scaling(
    rng: np.random.Generator,
    studies: int,
    blocks: int,
    rate: float = 60.0,
    sigma: float = 0.05,
    kappa: float = 0.001,
) -> np.ndarray:
    """Throughput over the loads by the Universal Scalability Law, (studies, blocks, loads).

    The rate differs between blocks as everything does, sigma and kappa by a tenth.
    """
    shape = (studies, blocks, 1)
    sigmas = sigma * (1 + 0.1 * rng.standard_normal(shape))
    kappas = kappa * (1 + 0.1 * rng.standard_normal(shape))
    law = LOADS / (1 + sigmas * (LOADS - 1) + kappas * LOADS * (LOADS - 1))
    block = math.hypot(COMMON, OWN) * rng.standard_normal(shape)
    cell = CELL * rng.standard_normal((studies, blocks, LOADS.size))
    return np.asarray(rate * law * np.exp(block + cell))
