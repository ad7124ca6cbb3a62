"""Estimators against truth from outside: R, published tables, simulated studies."""

import csv
from functools import cache
from pathlib import Path

import numpy as np

USERS = np.array([1, 2, 4, 8, 16, 32, 50])


@cache
def reference() -> dict[tuple[str, str], float]:
    """Values that reference/reference.R printed, by case and quantity."""
    path = Path(__file__).parent / "reference" / "reference.csv"
    with path.open() as lines:
        return {(r["case"], r["quantity"]): float(r["value"]) for r in csv.DictReader(lines)}


def weyl(n: int) -> np.ndarray:
    """Multiples of the golden ratio without their whole part, as in reference.R."""
    return (np.arange(1, n + 1) * (np.sqrt(5) - 1) / 2) % 1


def weyl_rows(rows: int, columns: int) -> np.ndarray:
    """The same sequence, cut into rows."""
    return weyl(rows * columns).reshape(rows, columns)
