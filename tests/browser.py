"""Headless Chromium, by script: what a page shows, and whom it asks."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars
    --disable-background-networking --disable-component-update --disable-sync
    --virtual-time-budget=4000
"""
# The browser itself asks its maker for this and that; no name is resolved, so nothing leaves.
NOWHERE = "--host-resolver-rules=MAP * ~NOTFOUND"


def browsed(path: Path, profile: Path, *flags: str) -> str:
    """Open a file with an empty profile; what the browser printed."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS.split(), NOWHERE, f"--user-data-dir={profile}"]
    return subprocess.run(
        [*command, *flags, path.as_uri()], capture_output=True, text=True, timeout=90, check=True
    ).stdout


def asked(log: Path) -> list[str]:
    """Addresses that a page, not the browser itself, asked for, but for its own file."""
    record = json.loads(log.read_text(encoding="utf-8"))
    names = {number: name for name, number in record["constants"]["logEventTypes"].items()}
    return [
        event["params"]["url"]
        for event in record["events"]
        if names[event["type"]] == "URL_REQUEST_START_JOB"
        and event.get("params", {}).get("initiator", "not an origin") != "not an origin"
        and not event["params"]["url"].startswith(("file:", "data:", "blob:"))
    ]
