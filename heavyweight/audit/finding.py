"""What one finding of the audit is, and how a notebook shows it."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from heavyweight.text import count_of

# impossible: physics excludes it. contradiction: the article says otherwise elsewhere.
# unsupported: it can be, and nothing that was seen carries it. ok: nothing against it.
Severity = Literal["impossible", "contradiction", "unsupported", "ok"]

APART = 0.05  # of two numbers for one thing, as in the ledger: more is a contradiction


@dataclass(frozen=True)
class Finding:
    """One thing that the article's numbers say of themselves.

    Args:
        id: by which it is named.
        title: a few words.
        severity: how bad it is.
        formula: how it is computed, with units.
        sentence: what was found, generated from the numbers.
        table: the numbers, as text for a reader.
    """

    id: str
    title: str
    severity: Severity
    formula: str
    sentence: str
    table: pd.DataFrame = field(compare=False, repr=False)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """A small table and plain text, for Jupyter."""
        rows = {"finding": self.sentence, "formula": self.formula, "judged": self.severity}
        cells = "".join(
            f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in rows.items()
        )
        return {
            "text/html": f'<table border="1" class="dataframe"><tbody>{cells}</tbody></table>',
            "text/plain": "\n".join(f"{name}: {text}" for name, text in rows.items()),
        }


def listed(words: Iterable[object]) -> str:
    """Words in a row: ``1, 4, 8 and 50``."""
    *first, last = [str(word) for word in words] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def people(users: int) -> str:
    """``1 user``, ``8 users``."""
    return count_of(users, "user")


def table_by(rows: Iterable[dict[str, Any]], name: str) -> pd.DataFrame:
    """Rows as a table with one of its columns as index, named in the row of the columns' names."""
    table = pd.DataFrame(rows)
    index = pd.Index(table[name].astype(object))
    return table.drop(columns=name).set_axis(index).rename_axis(index=None, columns=name)
