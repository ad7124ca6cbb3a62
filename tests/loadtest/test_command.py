"""``heavyweight load`` as a user calls it, against emulated servers."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from heavyweight import store
from heavyweight.cli.app import app
from heavyweight.errors import StudyError
from heavyweight.load.apis import APIS
from tests.loadtest.conftest import COMMAND, ROOT, heavyweight

Served = Callable[..., str]
FAST = ("--slots", 64, "--ttft-ms", 10, "--itl-ms", 1)
SHORT = ("--output-tokens", 5, "--seconds", 0.5, "--no-calibrate")


@pytest.mark.parametrize("api", list(APIS))
def test_every_api_is_measured_judged_and_kept(
    served: Served, tmp_path: Path, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("MY_KEY", "s3cret")
    done = heavyweight(
        "load", served(*FAST), "--api", api, "--users", 3, *SHORT, "--out", out, "--json",
        "--header", "Authorization: Bearer $MY_KEY", "--extra-body", '{"ignore_eos": true}',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert json.loads((out / "load.json").read_text()) == said
    assert said["load"]["api"] == api
    assert said["load"]["users"] == 3
    assert said["emulated"] is True
    assert said["errors"] == {}
    assert said["requests"] >= 30
    assert said["throughput"]["tok_s"] > 0
    latencies = {(row["quantity"], row["percentile"]): row for row in said["latency"]}
    assert len(latencies) == 12
    p50 = latencies["ttft", 50]
    assert p50["low_ms"] <= p50["estimate_ms"] <= p50["high_ms"]
    p99 = latencies["ttft", 99]
    assert (p99["estimate_ms"] is None) == (p99["n"] < 368)
    assert said["client"]["lag_p50_ms"] <= said["client"]["lag_p99_ms"]
    checks = {check["name"]: check for check in said["checks"]}
    assert checks["errors"]["passed"]
    assert checks["output tokens"]["passed"]
    assert said["valid"] == all(check["passed"] for check in said["checks"])
    assert not checks["instrument"]["passed"]
    assert "--no-calibrate" in checks["instrument"]["remedy"]

    (file,) = store.SessionFolder(out).cells()
    assert file.cell.api == api
    assert len(file.requests()) >= said["requests"]
    assert store.SessionFolder(out).record.emulated
    assert file.path.name == said["file"]
    for path in out.rglob("*"):
        assert not path.is_file() or b"s3cret" not in path.read_bytes()
    assert "s3cret" not in done.stdout + done.stderr


def test_an_open_loop_with_its_instrument_on_a_terminal_of_words(
    served: Served, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = heavyweight(
        "load", served(*FAST), "--rate", 60, "--arrivals", "constant", "--seconds", 1,
        "--warmup-seconds", 0.2, "--output-tokens", 5, "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "60 requests/s, constant" in done.stdout
    assert "not estimable: needs 368" in done.stdout
    assert "VALID" in done.stdout
    assert "The client's own error at this load: TTFT" in done.stdout
    assert "EMULATED" in done.stdout
    assert "calibrating" in done.stderr
    assert "tok/s" in done.stderr
    said = json.loads((out / "load.json").read_text())
    assert said["instrument"]["requests"] > 0
    assert said["requests"] == 60
    assert (out / "instrument" / "instrument.json").exists()


def test_a_trace_and_failures(served: Served, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text("".join(f"{i / 50}\n" for i in range(40)))
    url = served(*FAST, "--fault", "status-500", "--fault-every", 2)
    done = heavyweight(
        "load", url, "--trace", trace, "--output-tokens", 5, "--no-calibrate",
        "--out", tmp_path / "out", "--check",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr  # INVALID, and asked to say so
    assert "INVALID" in done.stdout
    assert "http_5xx" in done.stdout
    assert "infinite" in done.stdout
    assert "without failures" in done.stdout


def test_a_search_finds_the_slots(served: Served, tmp_path: Path) -> None:
    """A server of 4 slots: a fifth user waits for a whole answer, a fourth for nobody."""
    url = served("--slots", 4, "--ttft-ms", 5, "--itl-ms", 10)
    out = tmp_path / "out"
    done = heavyweight(
        "load", url, "--users", "1:16", "--search", "ttft_p75_ms<=30",
        "--search", "error_fraction<=0.3", "--search-seconds", 0.6, "--search-probes", 12,
        "--output-tokens", 10, "--no-calibrate", "--out", out, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["unit"] == "users"
    assert 1 <= said["highest_that_holds"] <= 5  # 4 or 5, alone on the machine
    # The search does not count a failure of which the client, late itself, may be the cause.
    late = any("the client was late" in note for note in said["notes"])
    fails = said["lowest_that_fails"] or math.inf
    assert said["highest_that_holds"] < fails
    assert fails <= 8 or late, said["notes"]
    assert len(said["probes"]) <= 12
    assert len(store.SessionFolder(out).cells()) == len(said["probes"])
    assert {"at", "verdict", "objectives", "valid", "latency"} <= set(said["probes"][0])
    blocks = [probe["load"]["block"] for probe in said["probes"]]
    assert len(set(blocks)) == len(blocks)  # so that no prompt occurs twice


def test_a_fleet(served: Served, tmp_path: Path) -> None:
    done = heavyweight(
        "load", served(*FAST), "--users", 5, *SHORT, "--fleet", "local:2",
        "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["load"]["parts"], said["load"]["users"]) == (2, 5)
    assert said["errors"] == {}


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


URL = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((URL,), "no load is named"),
        ((URL, "--users", "2", "--rate", "3"), "--users and --rate contradict"),
        ((URL, "--users", "0"), "--users 0"),
        ((URL, "--users", "2.5"), "--users 2.5"),
        ((URL, "--rate", "nan"), "--rate nan"),
        ((URL, "--rate", "-1"), "--rate -1"),
        ((URL, "--users", "1:8"), "without a search"),
        ((URL, "--users", "8", "--search", "ttft_p99_ms<=1"), "LOW:HIGH"),
        ((URL, "--users", "8:2", "--search", "ttft_p99_ms<=1"), "LOW below HIGH"),
        ((URL, "--users", "1:2", "--search", "ttft<=1"), "no objective"),
        ((URL, "--users", "1", "--search-seconds", "3"), "belong to a search"),
        ((URL, "--users", "1", "--arrivals", "poisson"), "--arrivals with --users"),
        ((URL, "--rate", "1", "--arrivals", "uniform"), "poisson, constant or gamma"),
        ((URL, "--rate", "1", "--cv", "2"), "--cv without gamma"),
        ((URL, "--users", "1", "--warmup-seconds", "2"), "--warmup-seconds with --users"),
        ((URL, "--users", "1", "--seconds", "-2"), "--seconds -2"),
        ((URL, "--users", "1", "--timeout-first", "0"), "--timeout-first 0"),
        ((URL, "--users", "1", "--extra-body", "{"), "--extra-body is no JSON"),
        ((URL, "--users", "1", "--extra-body", "[]"), "no JSON object"),
        ((URL, "--users", "1", "--header", "s3cret"), "has no colon"),
        ((URL, "--users", "1", "--header", "a b: s3cret"), "'a b' is no header"),
        ((URL, "--users", "1", "--header", "K: \u201cs3cret\u201d"), "'K' is no header"),
        ((URL, "--users", "1", "--header", "Authorization: Bearer s3cret"), "from the environment"),
        ((URL, "--users", "1", "--header", "X-Api-Key: s3cret"), "that was typed"),
        ((URL, "--users", "1", "--header", "cookie: s3cret"), "that was typed"),
        ((URL, "--users", "1", "--header", "X-Api-Key: $HOME"), "ends in KEY, TOKEN"),
        ((URL, "--users", "1", "--header", "X-Api-Key: $NOT_SET_KEY"), "is not set"),
        (("http://me:s3cret@127.0.0.1:1", "--users", "1"), "a user or a password"),
        ((URL, "--users", "1", "--api", "grpc"), "is no API"),
        ((URL, "--users", "1", "--fleet", "5"), "is no fleet"),
        (("http://192.0.2.1", "--users", "1"), "another machine"),
        (("127.0.0.1:80", "--users", "1"), "no address"),
        (("http://127.0.0.1:x", "--users", "1"), "no address"),
        (("http://no-such-host.invalid", "--users", "1", "--allow-remote"), "no server answers"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(
    arguments: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["load", *arguments, "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, StudyError)
    assert told in str(done.exception)
    assert "s3cret" not in str(done.exception)
    assert not done.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_a_server_says_against_it(served: Served, tmp_path: Path) -> None:
    url, out = served(*FAST), tmp_path / "out"
    trace = tmp_path / "trace.txt"
    trace.write_text("1\n0\n")
    full = tmp_path / "full"
    full.mkdir()
    (full / "kept").touch()
    for arguments, told in (
        ((f"http://127.0.0.1:{closed_port()}", "--users", 1), "no server answers"),
        ((url, "--users", 1, "--model", "gpt-x"), "it serves no model 'gpt-x'"),
        ((url, "--trace", tmp_path / "none"), "cannot read the trace"),
        ((url, "--trace", trace), "earlier than the line before"),
        ((url, "--rate", 5, "--requests", 3, "--warmup-seconds", 60), "due in the window"),
        ((url, "--users", 1, "--fleet", "tcp://192.0.2.1:8786"), "another machine"),
        ((url, "--users", 1, "--out", full), "is not empty"),
        ((url, "--users", 1, "--out", full / "kept" / "x"), "cannot be made"),
    ):
        done = CliRunner().invoke(app, ["load", "--out", str(out), *map(str, arguments)])
        assert isinstance(done.exception, StudyError)
        assert told in str(done.exception)
        assert not done.stdout
        assert not out.exists()
    assert (full / "kept").exists()
    assert len(list(full.iterdir())) == 1


def test_an_error_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    done = heavyweight("load", url, "--users", 1, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert not done.stdout
    assert done.stderr.startswith("heavyweight: no server answers at")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("more", [(), ("--fleet", "local:2")], ids=["alone", "fleet"])
def test_ctrl_c_leaves_no_process_and_nothing_half_measured(
    served: Served, tmp_path: Path, more: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    command = [COMMAND, "load", served(*FAST), "--users", "4", "--seconds", "100", *more]
    process = subprocess.Popen(
        [*map(str, command), "--out", str(out)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "measure" in line:
            break
    below = psutil.Process(process.pid).children(recursive=True)
    assert any("heavyweight.load" in one.cmdline() for one in below)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    deadline = time.monotonic() + 5
    while alive := [one for one in below if one.is_running() and one.status() != "zombie"]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)
    assert not out.exists()


def test_the_command_explains_itself() -> None:
    done = CliRunner().invoke(app, ["load", "--help"])
    assert done.exit_code == 0
    assert "Example" in done.output
    assert "--json" in done.output


def test_loads_are_not_committed() -> None:
    assert "data/loads/" in (ROOT / ".gitignore").read_text().splitlines()
