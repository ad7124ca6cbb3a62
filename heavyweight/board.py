"""The scoreboard as a table that is filtered by a click, without any script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from heavyweight.claims import ANSWERS, Verdict, verdict_table
from heavyweight.errors import BadInput

SHOWN = ("id", "verdict", "claim", "published", "why", "runs", "after_holm", "judged_by")
HEADS = {"runs": "run", "after_holm": "after Holm", "judged_by": "what would judge it"}
STYLE = """
.board fieldset{border:0;padding:0;margin:0 0 .5rem}
.board legend{float:left;padding:0 .75rem 0 0;font-weight:600}
.board label{display:inline-block;padding:.15rem .75rem .15rem 0;white-space:nowrap}
.board table{width:100%}
.board td,.board th{white-space:normal;vertical-align:top;text-align:left;min-width:0}
.board td.words{min-width:0}.board td:nth-child(5){min-width:15rem}
.board td:nth-child(6){min-width:8rem}.board td:nth-child(3){min-width:9rem}
@media (max-width:60rem){.board thead{display:none}
.board table,.board tbody,.board tr,.board td{display:block;border:0}
.board tr{border-bottom:1px solid #8888;padding:.5rem 0}
.board tr td:nth-child(n){padding:.1rem 0;min-width:0}
.board td:empty{display:none}}
.board .refuted b{color:#b34700}.board .reproduced b{color:#01659e}
@media (prefers-color-scheme:dark){
.board .refuted b{color:#ffa05c}.board .reproduced b{color:#6cb8ea}}
"""


class Board:
    """All claims with their verdicts; in a notebook or page with buttons for verdict and kind.

    Args:
        verdicts: of ``claims.judge``.
        verdict: only claims of this one; empty: all.
        kind: only claims with a rule of this kind; empty: all.

    Raises:
        BadInput: there is no such verdict or kind.
    """

    def __init__(self, verdicts: Sequence[Verdict], verdict: str = "", kind: str = "") -> None:
        kinds = dict.fromkeys(kind for v in verdicts for kind in v.claim.kinds)
        for what, given, known in (("verdict", verdict, ANSWERS), ("kind", kind, tuple(kinds))):
            if given and given not in known:
                raise BadInput(f"no {what} {given!r}", f"one of {', '.join(known)}, or nothing")
        self.verdicts = [
            v for v in verdicts if verdict in ("", v.answer) and (not kind or kind in v.claim.kinds)
        ]

    def frame(self) -> pd.DataFrame:
        """The rows as a table, to be filtered further."""
        return verdict_table(self.verdicts).set_index("id")

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        lines = [f"{v.claim.id} {v.answer}: {v.claim.claim}. {v.why}" for v in self.verdicts]
        return {"text/html": str(self.html()), "text/plain": "\n".join(lines)}

    def html(self) -> Markup:
        """The table with its buttons. What comes from files is escaped."""
        kinds = list(dict.fromkeys(kind for v in self.verdicts for kind in v.claim.kinds))
        rows = verdict_table(self.verdicts).to_dict("records")
        body = Markup("\n").join(
            _row(verdict, row) for verdict, row in zip(self.verdicts, rows, strict=True)
        )
        head = Markup("").join(
            Markup("<th>{}</th>").format(HEADS.get(name, name)) for name in SHOWN
        )
        rules = _rules("verdict", ANSWERS) + _rules("kind", kinds)
        return Markup(
            '<div class="board"><style>{}</style>{}{}'
            "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
        ).format(
            Markup(STYLE + rules), _buttons("verdict", ANSWERS), _buttons("kind", kinds), head, body
        )


def _row(verdict: Verdict, row: dict[str, Any]) -> Markup:
    """One claim; its classes are what the buttons look at."""
    classes = " ".join([verdict.answer, *(f"kind-{kind}" for kind in verdict.claim.kinds)])
    tested = any(part.p_adjusted == part.p_adjusted for part in verdict.parts)
    cells = []
    for name in SHOWN:
        text = str(row[name])
        if name == "why" and row["earlier"]:
            text += f" {row['earlier']}."
        if name == "verdict":
            cells.append(Markup("<td><b>{}</b></td>").format(text))
        elif name == "after_holm" and not tested:
            cells.append(Markup("<td></td>"))  # nothing was tested against a limit
        elif name == "after_holm":
            wide = f": {row['widened']}" if row["widened"] else ""
            cells.append(Markup("<td>{}{}</td>").format(text, wide))
        else:
            cells.append(Markup("<td>{}</td>").format(text))
    return Markup('<tr class="{}">{}</tr>').format(classes, Markup("").join(cells))


def _buttons(name: str, values: Sequence[str]) -> Markup:
    """One choice of many, all by default."""
    options = Markup("").join(
        Markup('<label><input type="radio" name="board-{}" value="{}"{}> {}</label>').format(
            name, value, Markup(" checked") if value == "all" else "", value
        )
        for value in ("all", *values)
    )
    return Markup("<fieldset><legend>{}</legend>{}</fieldset>").format(name, options)


def _rules(name: str, values: Sequence[str]) -> str:
    """Style that hides the rows which a button does not ask for."""
    prefix = "kind-" if name == "kind" else ""
    return "".join(
        f'.board:has([name="board-{name}"][value="{value}"]:checked) tbody '
        f"tr:not(.{prefix}{value}){{display:none}}\n"
        for value in values
    )
