"""``python -m benchmarks.crash``: a real server dies or hangs in a cell; the study goes on.

On the CPU, vLLM 0.21.0 dies of requests that carry a seed when their prompts are read in parts. A
study is begun; when its vLLM is being measured, many such requests are sent to it beside the load.
With ``--hang`` all processes of the server are stopped instead (SIGSTOP): it lives, its port is
open, and it answers nobody until the client's time-outs have passed. The study survives if it comes
to its end by itself, says what became of the server, holds the broken cell INVALID, and every other
cell is whole.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from benchmarks.kills import COMMAND, holder
from heavyweight import progress, tables
from heavyweight.estimates import assess
from heavyweight.paths import study_root
from heavyweight.servers.lock import Holder
from heavyweight.store import RunFolder
from heavyweight.text import count_of

AT_ONCE = 60
WORDS = 400  # of each prompt: together they are read in parts
TRIES_S = 120.0
TIMEOUT_S = 60.0


def seeded(port: int, model: str, seed: int) -> None:
    """Send one request with a seed; whatever comes of it is the study's to tell."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "tell me of number " * (WORDS // 4) + str(seed)}],
        "max_tokens": 32,
        "seed": seed,
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with suppress(OSError), urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        answer.read()


def measured(study: subprocess.Popen[bytes], run: Path, arm: str) -> Holder | None:
    """Wait until an arm's server is being measured.

    Returns:
        Who holds the machine; None: the study ended before.
    """
    state = progress.read(run)
    while not (arm in str(state.get("session")) and state.get("phase") == "measure"):
        if study.poll() is not None:
            return None
        time.sleep(0.1)
        state = progress.read(run)
    return holder()


def crash(held: Holder) -> None:
    """Send requests to a server that is being measured until it dies, for two minutes at most."""
    assert held.port is not None
    with urllib.request.urlopen(f"http://127.0.0.1:{held.port}/v1/models") as answer:
        model = json.load(answer)["data"][0]["id"]
    deadline = time.monotonic() + TRIES_S
    while time.monotonic() < deadline:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for seed in range(AT_ONCE):
                pool.submit(seeded, held.port, model, seed)
        leader = next((one for one in held.server if one.pid == held.server_pgid), None)
        if leader is None or not leader.alive():
            return


def main() -> int:
    """Print what became of the server and of the study."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash", description=__doc__)
    parser.add_argument("--profile", default="smoke", help="with an arm of the real vLLM")
    parser.add_argument("--arm", default="vllm-bf16", help="whose server crashes")
    parser.add_argument("--hang", action="store_true", help="it hangs; takes up to half an hour")
    asked = parser.parse_args()
    name = f"crash-{os.getpid()}"
    run = study_root() / "data" / "runs" / name
    study = subprocess.Popen([*COMMAND, "--profile", asked.profile, "--run", name])
    try:
        held = measured(study, run, asked.arm)
        if held is not None and held.server_pgid is not None:
            if asked.hang:
                os.killpg(held.server_pgid, signal.SIGSTOP)
            else:
                crash(held)
        code = study.wait()
    except BaseException:
        study.terminate()
        study.wait()
        raise
    found = assess(RunFolder.open(run))
    column, what = ("hangs", "hung") if asked.hang else ("deaths", "died")
    times = int(found.sessions[column].fillna(0).sum())
    print(f"by its records a server {what} {count_of(times, 'time')}; the study ended with exit "
          f"code {code}")  # fmt: skip
    print(f"the page would say: {tables.failures(found) or 'nothing'}")
    for row in found.cells.itertuples():
        state = "VALID" if row.valid else f"INVALID: {row.reasons}"
        print(f"{row.session} at {row.users} users: {row.requests} requests, {row.errors} errors, "
              f"start {row.start_id}, {state}")  # fmt: skip
    broken = found.cells["errors"] > 0
    good = times > 0 and code == 0 and broken.any() and not found.cells.loc[broken, "valid"].any()
    print(f"{'survived' if good and found.missing.empty else 'NOT SURVIVED'}; run {name}")
    return not (good and found.missing.empty)


if __name__ == "__main__":
    sys.exit(main())
