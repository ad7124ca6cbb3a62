"""The command as a user calls it, in this process: starting another one takes seconds."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

from heavyweight.cli import main

ROOT = Path(__file__).parents[1]


def heavyweight(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command; what it raises beyond its own exit codes is raised here.

    Args:
        arguments: after ``heavyweight``.
        cwd: the working directory.
    """
    out, err, here = io.StringIO(), io.StringIO(), Path.cwd()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    code = 0
    os.chdir(cwd)
    try:
        with (
            mock.patch.object(sys, "argv", ["heavyweight", *arguments]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        os.chdir(here)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())
