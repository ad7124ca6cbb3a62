"""``python .ci/audit.py LOCK...``: what is known against the locked packages.

Run by the Python that has pip-audit. Exit codes: 0 nothing is known; 1 something is; 2 the service
that knows did not answer for some of the packages, so that nothing can be said of those.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def audited(lock: str) -> tuple[int, list[str], list[str]]:
    """How many packages there are, which were not looked up, and what is known of the others."""
    done = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--requirement", lock, "--require-hashes",
         "--disable-pip", "--progress-spinner", "off", "--format", "json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return 0, [f"all ({last})"], []
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    known = [
        f"{one['name']} {one['version']}: {hole['id']}, mended in "
        + (", ".join(hole["fix_versions"]) or "no version")
        for one in packages
        for hole in one.get("vulns", [])
    ]
    return len(packages), skipped, known


def main(locks: list[str]) -> int:
    """Audit each list, and say what came of it."""
    worst = 0
    for lock in locks:
        count, skipped, known = audited(lock)
        name = Path(lock).name
        print(f"{name}: {count - len(skipped)} of {count} packages looked up, {len(known)} known")
        for line in known:
            print(f"  {line}")
        if known:
            worst = 1
        if skipped:
            worst = worst or 2
            print(
                f"found: no answer for {len(skipped)} packages of {name} ({skipped[0]}, ...)."
                " Expected: the vulnerability service of the package index."
                " Remedy: run it where that is reached; nothing is said of these packages.",
                file=sys.stderr,
            )
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
