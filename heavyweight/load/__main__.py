"""``python -m heavyweight.load SPEC.json``: measure one cell and print its file.

Exit codes: 0 measured, 2 bad input or a failure that is told, 3 stopped and discarded.
"""

from __future__ import annotations

import sys
from pathlib import Path

from heavyweight.errors import Stopped, StudyError
from heavyweight.load.process import measure_cell, run
from heavyweight.load.spec import STOPPED, read_spec


def main(arguments: list[str]) -> int:
    """Measure the cell that the file describes."""
    if len(arguments) != 1:
        print("usage: python -m heavyweight.load SPEC.json", file=sys.stderr)
        return 2
    try:
        spec = read_spec(Path(arguments[0]))
        print(run(lambda: measure_cell(spec)))
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return STOPPED
    except StudyError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
