"""The ``heavyweight`` command: progress on standard error, results on standard output.

Exit codes: 0 done; 1 a check failed; 2 something that cannot be used, said in one message;
130 interrupted, as shells have it.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from heavyweight.cli.app import app
from heavyweight.errors import Stopped, StudyError
from heavyweight.keys import hidden
from heavyweight.text import plain


def _say(error: StudyError) -> None:
    """What it says may be a server's word: shown as text, and without a key that it sent back."""
    print(f"heavyweight: {plain(hidden(str(error)))}", file=sys.stderr)


def main() -> None:
    """Run the command; an error of the study's is one message, never a traceback."""
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.default_int_handler)  # stop as cleanly as on Ctrl-C
    try:
        app()
    except Stopped as stopped:
        _say(stopped)
        sys.exit(130)
    except StudyError as error:
        _say(error)
        sys.exit(2)
    except OSError as error:
        where = f" ({Path(error.filename).name})" if error.filename else ""
        print(f"heavyweight: {error.strerror or error}{where}. Expected: a place that can be read"
              " and written. Remedy: mend its owner, mode or disk, or name another cache folder in"
              " HEAVYWEIGHT_CACHE, and call again; what was finished is kept.",
              file=sys.stderr)  # fmt: skip
        sys.exit(2)
    except KeyboardInterrupt:
        print("heavyweight: interrupted; what was finished is kept.", file=sys.stderr)
        sys.exit(130)
