"""What the load is told, and what it refuses."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from yarl import URL

from heavyweight import load
from heavyweight.errors import BadInput, ServerError
from heavyweight.load import LoadSpec
from heavyweight.load.__main__ import main
from heavyweight.load.address import is_loopback, port_of, server_root
from heavyweight.load.idle import in_flight
from heavyweight.load.spec import read_spec
from heavyweight.records import Cell
from tests.load.conftest import Emulated

Make = Callable[..., LoadSpec]
HERE = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("http://localhost:8000/v1", "http://localhost:8000"),
        ("https://[::1]/v1/", "https://[::1]"),
    ],
)
def test_the_address_of_the_server(base: str, url: str) -> None:
    assert server_root(base) == url


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://127.0.0.1:8000", 8000), ("https://[::1]:8443/v1", 8443),
        ("http://127.0.0.1", 80), ("https://[::1]", 443),
    ],
)  # fmt: skip
def test_a_port_that_is_not_named_is_that_of_the_scheme(url: str, port: int) -> None:
    assert port_of(url) == port


@pytest.mark.parametrize(
    "base",
    ["", "127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http:///v1", "http://127.0.0.1:x",
     "http://127.0.0.1:0", "http://[::1", "http://127.0.0.1:99999", "http://127.0.0.1?x=1",
     "http://127.0.0.1#x", "http://127.0.0.1/a b", " http://127.0.0.1", "http://127.0.0.1\n",
     "http://127.0.0.1\\.example.org", "http://127.0.0.1\t", "http://127.0.0.1%00.example.org",
     "file:///etc/hostname", "http://\u2460.example.org", "http://-"],
)  # fmt: skip
def test_what_is_no_address_is_refused(base: str) -> None:
    for allowed in (False, True):
        with pytest.raises(BadInput, match="no address"):
            server_root(base, allowed)


@pytest.mark.parametrize(
    "base",
    ["http://127.0.0.1@example.org", "http://me:s3cret@127.0.0.1:8000", "http://@example.org",
     "http://127.0.0.1:80@example.org/v1", "http://example.org\\@127.0.0.1", "http://me@localhost"],
)  # fmt: skip
def test_a_user_or_password_in_an_address_is_refused_and_not_repeated(base: str) -> None:
    for allowed in (False, True):
        with pytest.raises(BadInput, match="a user or a password") as refused:
            server_root(base, allowed)
        assert "s3cret" not in str(refused.value)


OTHERS = [
    "example.org", "10.0.0.1", "127.0.0.1.example.org", "localhost.x", "localhost.example.org",
    "0.0.0.0", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", "localhost.",
    "a.localhost", "127-0-0-1.example.org", "192.168.0.1", "169.254.169.254",
]  # fmt: skip
"""Other machines, and spellings that only some readers take for this one."""


@pytest.mark.parametrize("host", OTHERS)
def test_other_machines_need_leave(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(BadInput, match="--allow-remote"):
        server_root(f"http://{host}")
    assert server_root(f"http://{host}", allow_remote=True) == f"http://{host}"


@pytest.mark.parametrize("host", ["[::]", "[2001:db8::1]", "[fe80::1]", "[::ffff:10.0.0.1]"])
def test_other_machines_by_ipv6_need_leave(host: str) -> None:
    with pytest.raises(BadInput, match="is another machine"):
        server_root(f"http://{host}:8000")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@given(st.text(st.sampled_from("127.0.0.1localhost@:/\\#?[]%& evil.org\t\n"), max_size=30))
def test_every_reader_sees_the_same_host(text: str) -> None:
    """What is taken for this machine is so for the two libraries that connect."""
    try:
        root = server_root(f"http://{text}")
    except BadInput:
        return
    for host in (URL(root).host, urllib.request.Request(root + "/v1").host.partition(":")[0]):
        assert host.startswith("[") or is_loopback(host or "")


def test_a_spec_survives_its_file(spec: Make, tmp_path: Path) -> None:
    made = spec(HERE, extra_body={"ignore_eos": True})
    file = tmp_path / "spec.json"
    file.write_text(made.model_dump_json())
    assert read_spec(file) == made


@pytest.mark.parametrize(
    "fields", [{"users": 0}, {"users": 5000}, {"output_tokens": 0}, {"cell": {}}, {"nonsense": 1}]
)
def test_bad_fields_are_refused(spec: Make, fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        spec(HERE, **fields)


POISSON = {"process": "poisson", "rate_per_s": 5, "seconds": 1}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"arrivals": POISSON}, "either users"),
        ({"users": 0}, "either users"),
        ({"part": 2, "parts": 2}, "counted from 0"),
        ({"parts": 4}, "3 users cannot be split into 4 parts"),
        ({"cores": []}, "at least one core"),
        ({"api": "smoke-signals"}, "ollama-generate"),
        ({"memory_bytes": 0}, "greater than 0"),
        ({"users": 0, "arrivals": {"process": "poisson", "seconds": 1}}, "need rate_per_s"),
        ({"users": 0, "arrivals": {**POISSON, "rate_per_s": 0}}, "rate_per_s"),
        ({"users": 0, "arrivals": {**POISSON, "rate_per_s": "inf"}}, "rate_per_s"),
        ({"users": 0, "arrivals": {**POISSON, "seconds": None}}, "need seconds, requests or both"),
        ({"users": 0, "arrivals": {**POISSON, "trace": "a.csv"}}, "either a trace or poisson"),
        ({"users": 0, "arrivals": {**POISSON, "warmup_s": 1}}, "leaves no window"),
        ({"users": 0, "arrivals": {"process": "trace"}}, "need its file"),
        (
            {"users": 0, "arrivals": {"process": "trace", "trace": "a", "rate_per_s": 1}},
            "is not rescaled",
        ),
    ],
)
def test_loads_that_cannot_be_say_why(spec: Make, fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        spec(HERE, **fields)


def test_an_open_loop_survives_its_file(spec: Make, tmp_path: Path) -> None:
    made = spec(HERE, users=0, arrivals=POISSON, part=1, parts=9)
    file = tmp_path / "spec.json"
    file.write_text(made.model_dump_json())
    assert read_spec(file) == made
    assert made.known()["loop"] == "open"
    assert (made.known()["arrivals"], made.known()["rate_per_s"]) == ("poisson", 5.0)


def test_the_spec_and_the_measured_fields_make_a_cell(spec: Make) -> None:
    measured = {
        "schema_version", "clock_error_ns", "origin_monotonic_ns", "origin_utc", "window_start_ns",
        "window_end_ns", "ended", "idle_after", "machine_load", "client", "imported",
    }  # fmt: skip
    assert set(spec(HERE).known()) | measured == set(Cell.model_fields)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"users": "many"}'])
def test_the_command_refuses_bad_files(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spec.json"
    file.write_text(text)
    assert main([str(file)]) == 2
    assert "spec.json describes no load" in capsys.readouterr().err


def test_the_command_refuses_a_missing_file_and_remote_servers(
    spec: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.json")]) == 2
    assert main([]) == 2
    fields = json.loads(spec(HERE).model_dump_json())
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({**fields, "base_url": "http://example.org"}))
    assert main([str(file)]) == 2
    assert "another machine" in capsys.readouterr().err


def test_the_first_token_is_timed(emulated: Callable[..., Emulated]) -> None:
    server = emulated("--ttft-ms", "30", "--itl-ms", "5")
    first = load.first_token(server.base_url, "emulated", {}, seed=1, block=1, start_id=1)
    (truth,) = server.log().values()
    assert first.sent_ns < truth["read_ns"] < truth["write_ns"][0] < first.first_ns < first.done_ns


def test_a_first_request_that_fails_says_why(emulated: Callable[..., Emulated]) -> None:
    server = emulated("--fault", "error-event")
    with pytest.raises(ServerError, match=r"error_event.*EngineCore died"):
        load.first_token(server.base_url, "emulated", {}, seed=1, block=1, start_id=1)
    with pytest.raises(ServerError, match="another"):
        load.first_token(server.base_url, "another", {}, seed=1, block=1, start_id=1)


def test_how_servers_say_that_they_are_idle() -> None:
    metrics = (
        "# HELP vllm:num_requests_running running\n"
        'vllm:num_requests_running{engine="0",model_name="m"} 2.0\n'
        'vllm:num_requests_waiting{engine="0",model_name="m"} 1.0\n'
        'vllm:num_requests_waiting_by_reason{engine="0",reason="x"} 7.0\n'
    )
    assert in_flight(metrics) == 3
    assert in_flight('{"in_flight": 0}') == 0
    assert in_flight("hello") is None
    assert in_flight("[]") is None
