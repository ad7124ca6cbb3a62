"""The results as one table: medians, ratios to this project's client, and what was reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.cases import Case, Figure
from benchmarks.measures import Measured

OURS, FLOOR = "heavyweight", "bare"


@dataclass
class Results:
    """All runs of a benchmark.

    Attributes:
        runs: (case, figure, client) -> one value a run; a failed run has none.
        failures: what went wrong, a line each.
    """

    runs: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, case: str, client: str, values: Mapping[str, Measured]) -> None:
        """Keep the figures of one run."""
        for figure, value in values.items():
            if value is not None:
                self.runs.setdefault((case, figure, client), []).append(value)

    def median(self, case: str, figure: str, client: str) -> Measured:
        """Median over the runs; None: there is none."""
        runs = self.runs.get((case, figure, client))
        return median(runs) if runs else None


def limit(figure: Figure, floor: Measured) -> Measured:
    """The must in this run: twice what the bare protocol reaches, where that is larger.

    Args:
        figure: with its must.
        floor: the bare protocol's median; None: not measured.
    """
    if figure.must is None or floor is None:
        return figure.must
    if not figure.higher:
        return max(figure.must, 2 * floor)
    if figure.whole is None:
        return min(figure.must, floor / 2)
    return min(figure.must, figure.whole - 2 * (figure.whole - floor))


def reached(figure: Figure, value: Measured, wanted: Measured) -> bool | None:
    """Whether a value is as good as wanted; None: nothing is wanted, or nothing was measured."""
    if value is None or wanted is None:
        return None
    return value >= wanted if figure.higher else value <= wanted


def ratio(figure: Figure, value: Measured, ours: Measured) -> Measured:
    """How many times this project's value it is; of a percentage, the distances to the whole."""
    if value is None or ours is None:
        return None
    if figure.whole is not None:
        value, ours = figure.whole - value, figure.whole - ours
    return value / ours if ours > 0 and value >= 0 else None


def rows(results: Results, cases: Sequence[Case], clients: Sequence[str]) -> list[dict[str, Any]]:
    """One row a case and figure, as plain values for JSON."""
    out = []
    for case in cases:
        for figure in case.figures:
            ours = results.median(case.name, figure.name, OURS)
            must = limit(figure, results.median(case.name, figure.name, FLOOR))
            told = {}
            for client in clients:
                runs = results.runs.get((case.name, figure.name, client), [])
                middle = median(runs) if runs else None
                told[client] = {
                    "median": middle, "min": min(runs, default=None),
                    "max": max(runs, default=None), "runs": runs,
                    "ratio_to_heavyweight": ratio(figure, middle, ours),
                }  # fmt: skip
            out.append(
                {
                    "case": case.name,
                    "load": case.title,
                    "figure": figure.name,
                    "measure": figure.title,
                    "must": figure.must,
                    "must_in_this_run": must,
                    "aim": figure.aim,
                    "must_reached": reached(figure, ours, must),
                    "aim_reached": reached(figure, ours, figure.aim),
                    "clients": told,
                }
            )
    return out


def shown(value: Measured) -> str:
    """A number with three digits that count."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3
    return f"{value:.{digits}f}"


def _limits(row: Mapping[str, Any]) -> tuple[str, str]:
    """Must and aim, and whether they were reached."""
    must = "" if row["must"] is None else shown_limit(row["must"])
    if row["must"] != row["must_in_this_run"]:
        must += f" ({shown(row['must_in_this_run'])})"
    answers = {None: "-", True: "yes", False: "no"}
    verdict = f"{answers[row['must_reached']]} / {answers[row['aim_reached']]}"
    aim = "" if row["aim"] is None else shown_limit(row["aim"])
    return f"{must} / {aim}" if must else "", verdict if must else ""


def shown_limit(value: float) -> str:
    """A limit as it is written in the study."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def text(told: Sequence[Mapping[str, Any]], clients: Sequence[str]) -> str:
    """The table, two lines a figure: medians with ratios, then [min, max] and number of runs."""
    head = ["load, measure", "must / aim", "reached", *clients]
    body: list[list[str]] = []
    load = None
    for row in told:
        if row["load"] != load:
            load = row["load"]
            body.append([f"{load}"])
        first = [f"  {row['measure']}", *_limits(row)]
        second = ["", "", ""]
        for client in clients:
            one = row["clients"][client]
            times = one["ratio_to_heavyweight"]
            tag = "" if times is None or client == OURS else f" (x{times:.2g})"
            if times is not None and times >= 100:
                tag = f" (x{times:.0f})"
            first.append(shown(one["median"]) + tag)
            spread = f"[{shown(one['min'])}, {shown(one['max'])}] {len(one['runs'])}"
            second.append(spread if one["runs"] else "")
        body += [first, second]
    widths = [
        max(len(line[place]) for line in [head, *body] if len(line) > 1)
        for place in range(len(head))
    ]
    lines = []
    for line in [head, *body]:
        if len(line) == 1:
            lines.append(line[0])
        else:
            cells = zip(line, widths, strict=True)
            lines.append("  ".join(cell.ljust(width) for cell, width in cells).rstrip())
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def layers_text(layers: Sequence[Mapping[str, Any]]) -> str:
    """The cost of each layer, in microseconds of CPU and as ratios to the first one."""
    head = ("layer", "us a request", "us an event", "x request", "x event")
    lines = [f"{head[0]:<44}" + "".join(f"{name:>14}" for name in head[1:])]
    lines.append("-" * len(lines[0]))
    first = layers[0]
    for layer in layers:
        cells = []
        for name in ("us_per_request", "us_per_event"):
            cells.append(shown(layer[name]))
        for name in ("us_per_request", "us_per_event"):
            cells.append(shown(layer[name] / first[name]) if first[name] > 0 else "-")
        lines.append(f"{layer['layer']:<44}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)
