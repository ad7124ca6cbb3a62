"""``python -m tests.secrecy PLACE``: a small study from its plan to its archive, and a load.

Run in a network namespace of its own where that is permitted, and under other names of host, user
and home. Everything is run as a user does, by the command, and what it says is kept in PLACE/said.
Meanwhile the sockets of all processes below this one are looked at.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from heavyweight.experiments.offline import interfaces, loopback_up, outside
from tests.secrecy.evil import evil

COMMAND = str(Path(sys.executable).parent / "heavyweight")
EVERY_S = 0.4
STUDY = """
[profiles.secluded]
about = "one server that imitates and one that means ill"
model = "emulated"
arms = ["emulated-slots", "openai"]
contrasts = {{ "{label}" = ["emulated-slots", "openai"] }}
users = [1]
output_tokens = 8
blocks = 1
min_seconds = 0.5
min_requests = 30
min_waves = 4
cap_seconds = 20
instrument_seconds = 0.5
session_minutes = {{ emulated-slots = 0.2, openai = 0.2 }}
"""


class Watcher(threading.Thread):
    """Looks at the sockets of the processes below this one, again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.listening: dict[str, set[str]] = {}
        self.peers: set[str] = set()
        self.looks = 0

    def run(self) -> None:
        """Look until told that it is over."""
        while not self.over.wait(EVERY_S):
            self.looks += 1
            for process in psutil.Process().children(recursive=True):
                try:
                    name = " ".join(process.cmdline()[1:3])
                    for one in process.net_connections("inet"):
                        if one.raddr:
                            self.peers.add(one.raddr.ip)
                        elif one.laddr and one.status in (psutil.CONN_LISTEN, psutil.CONN_NONE):
                            self.listening.setdefault(one.laddr.ip, set()).add(name)
                except psutil.Error:
                    continue


def main(place: Path) -> None:
    """Run all of it; the first thing that fails ends it."""
    apart = os.environ.get("SECLUDED") == "yes"
    if apart:
        loopback_up()
        socket.sethostname(os.environ["PLANTED_HOST"])
    watcher = Watcher()
    watcher.start()
    with evil() as url:
        runs = {
            "run": ["study", "run", "--profile", "secluded", "--run", "r"],
            "report": ["report", "r"],
            "show": ["study", "show", "r"],
            "verify": ["verify", "reference-memory"],  # the one with the fewest analyses
            "pack": ["study", "pack", "r", "--out", "r.zip"],
            "load": ["load", url, "--users", "2", "--requests", "30", "--output-tokens", "8",
                     "--no-calibrate", "--header", "Authorization: Bearer $PLANTED_API_KEY",
                     "--out", "loaded"],
            "fleet": ["load", url, "--users", "2", "--requests", "30", "--output-tokens", "8",
                      "--no-calibrate", "--header", "Authorization: Bearer $PLANTED_API_KEY",
                      "--out", "fleet", "--fleet", "local:2"],
        }  # fmt: skip
        study = place / "study.toml"
        text = study.read_text(encoding="utf-8").replace(
            'label = "server at --base-url"',
            f'label = {json.dumps(os.environ["PLANTED_LABEL"])}\nbase_url = "{url}/v1"',
        )
        study.write_text(text + STUDY.format(label="E"), encoding="utf-8")
        codes = {}
        for name, words in runs.items():
            done = subprocess.run(
                [COMMAND, *words], cwd=place, capture_output=True, text=True, check=False
            )
            codes[name] = done.returncode
            (place / "said").mkdir(exist_ok=True)
            (place / "said" / f"{name}.txt").write_text(done.stdout + "\n" + done.stderr)
    watcher.over.set()
    watcher.join()
    seen = {
        "codes": codes,
        "interfaces": interfaces() if apart else None,
        "outside": outside() if apart else None,
        "host": socket.gethostname(),
        "looks": watcher.looks,
        "peers": sorted(watcher.peers),
        "listening": {ip: sorted(names) for ip, names in watcher.listening.items()},
    }
    (place.parent / "seen.json").write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
