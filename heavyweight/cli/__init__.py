"""The ``heavyweight`` command: progress on standard error, results on standard output.

Exit codes: 0 done; 1 a check failed; 2 something that cannot be used, said in one message.
"""

from __future__ import annotations

import sys

from heavyweight.cli.app import app
from heavyweight.errors import Stopped, StudyError


def main() -> None:
    """Run the command; an error of the study's is one message, never a traceback."""
    try:
        app()
    except Stopped as stopped:
        print(f"heavyweight: {stopped}", file=sys.stderr)
        sys.exit(130)
    except StudyError as error:
        print(f"heavyweight: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("heavyweight: interrupted; what was finished is kept.", file=sys.stderr)
        sys.exit(130)
