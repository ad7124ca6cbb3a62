"""``python -m benchmarks.statistics``: measured coverage of every interval, and the speed."""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
from pathlib import Path

from benchmarks.statistics import coverage, speed

CSV = Path(__file__).parent / "coverage.csv"
FORM = "{:<36} {:<34} {:>7} {:>8} {:>9} {:>6} {:>8}"
TIME = "{:<80} {:<22} {:8.2f} s {:7.1f}x"
HEADS = ("interval", "setting", "blocks", "nominal", "measured", "+-", "studies")


def text(row: coverage.Row) -> tuple[object, ...]:
    """A line's cells as they are printed and kept."""
    nominal = "" if math.isnan(row.nominal) else f"{row.nominal:.0%}"
    return (
        row.interval, row.setting, row.blocks, nominal,
        f"{row.measured:.1%}", f"{row.error:.1%}", row.studies,
    )  # fmt: skip


def main() -> None:
    """Print both tables, and keep the first."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics", description=__doc__)
    parser.add_argument("--studies", type=int, default=4000, help="for each line, at most")
    parser.add_argument("--group", action="append", choices=list(coverage.GROUPS))
    parser.add_argument("--no-speed", action="store_true", help="without the table of times")
    known = parser.parse_args()
    start = time.perf_counter()
    rows = []
    print(FORM.format(*HEADS))
    for row in coverage.measure(known.studies, groups=known.group or coverage.GROUPS):
        rows.append(text(row))
        print(FORM.format(*rows[-1]), flush=True)
    if known.group is None and known.studies == parser.get_default("studies"):
        with CSV.open("w", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow([*HEADS[:5], "error", HEADS[6]])
            writer.writerows(rows)
    print(f"took {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if not known.no_speed:
        print()
        for one in speed.measure():
            print(TIME.format(one.work, one.by, one.seconds, one.ratio), flush=True)


if __name__ == "__main__":
    main()
