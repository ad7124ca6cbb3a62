"""A file that is no result, or a damaged one, is refused in one message; text in it stays text."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heavyweight.errors import BadInput, StudyError
from heavyweight.importing import Source, read, write_run
from heavyweight.importing.told import public
from tests.importing.test_importing import FILES
from tests.synthetic import LIMITS

WHOLE = {name: FILES[name].read_bytes() for name in ("vllm-resets", "guidellm-resets")}
NASTY = '=HYPERLINK("x")<script>alert(1)</script>[bold]{{7*7}}'


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"), (b" \n\n", "is empty"), (b"hello", "cannot be told"),
        (b"{}", "cannot be told"), (b"\x00" * 5000, "cannot be told"),
        (b'{"guidellm_version": 1', "no result of GuideLLM"),
        (b'{"guidellm_version": 1, "benchmarks": []}', "no result of GuideLLM"),
        (b'{"guidellm_version": 1, "benchmarks": [{"requests": {}}]}', "no request that was sent"),
        (b'{"endpoint_type": "x", "tokenizer_id": "y"}', "save-detailed"),
        (b'{"x_request_id": 1, "benchmark_phase": 2}', "line 1, is no result of AIPerf"),
        (b'{"guidellm_version":' + b"[" * 100_000, "no result of GuideLLM"),
    ],
)  # fmt: skip
def test_what_is_no_result_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=match):
        read(path)


@pytest.mark.parametrize("tool", ["guidellm", "vllm-bench", "aiperf"])
def test_a_file_of_another_tool_is_refused(tool: str) -> None:
    for name in ("vllm-closed", "guidellm-two", "aiperf-closed"):
        if not name.startswith(tool[:4]):
            with pytest.raises(BadInput, match="is no result of"):
                read(FILES[name], tool)  # type: ignore[arg-type]


def test_what_is_no_file_or_too_large_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no file"):
        read(tmp_path / "absent.json")
    with pytest.raises(BadInput, match="no file"):
        read(tmp_path)
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with pytest.raises(BadInput, match="no file"):
        read(pipe)
    with pytest.raises(BadInput, match="more than"):
        read(FILES["vllm-closed"], most_bytes=1000)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(WHOLE)), st.floats(0, 0.999))
def test_a_cut_file_is_refused(tmp_path_factory, name: str, keep: float) -> None:
    path = tmp_path_factory.mktemp("cut") / "file.json"
    path.write_bytes(WHOLE[name][: int(keep * (len(WHOLE[name]) - 3))])
    with pytest.raises(BadInput):
        read(path, "vllm-bench" if name.startswith("vllm") else "guidellm")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3), max_leaves=4,
)  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_value_in_any_field_is_read_or_refused(tmp_path_factory, data: st.DataObject) -> None:
    told = json.loads(WHOLE["vllm-resets"])
    field = data.draw(st.sampled_from(sorted(told)))
    if isinstance(told[field], list):
        told[field][data.draw(st.integers(0, len(told[field]) - 1))] = data.draw(JSON)
    else:
        told[field] = data.draw(JSON)
    folder = tmp_path_factory.mktemp("any")
    path = folder / "file.json"
    path.write_text(json.dumps(told))
    try:
        write_run(folder / "runs", "x", [Source(read(path, "vllm-bench"), "a")], LIMITS)
    except StudyError:
        assert not list((folder / "runs").glob("*"))


def test_text_from_outside_stays_text(tmp_path: Path) -> None:
    told = json.loads(WHOLE["vllm-resets"])
    told["model_id"] = f"../../{NASTY}"
    told["errors"] = [error and NASTY for error in told["errors"]]
    path = tmp_path / "..%2f..%2fx.json"
    path.write_text(json.dumps(told))
    run = write_run(tmp_path / "runs", "x", [Source(read(path), "a")], LIMITS)
    cell = run.sessions()[0].cells()[0]
    assert cell.cell.model == f"../../{NASTY}"
    details = [text for text in cell.requests()["error_detail"].to_pylist() if text]
    assert details == [NASTY, NASTY]
    names = [p.relative_to(tmp_path / "runs") for p in (tmp_path / "runs").rglob("*")]
    assert all(".." not in str(name) and "HYPERLINK" not in str(name) for name in names)


def test_names_of_folders_and_users_are_taken_out_of_errors() -> None:
    ada, root = "/".join(("", "home", "ada")), "/".join(("", "root"))  # nobody's here
    trace = f'Traceback:\n  File "{ada}/x.py"\nOSError: {ada}/f: gone'
    assert public(trace) == "OSError: ~/f: gone"
    assert public("cannot open C:\\Users\\Ada Byron\\f") == "cannot open ~\\f"
    assert public(f"{root}/x, {ada} and /Users/ada/y") == "~/x, ~ and ~/y"
    assert public("/roots and a/home/b") == "/roots and a/home/b"
    assert public("") == ""
    assert len(public("x" * 9000)) == 500


def test_no_name_of_a_machine_is_in_the_samples() -> None:
    for path in FILES["vllm-closed"].parent.rglob("*"):
        if path.is_file() and path.suffix != ".md":
            assert not re.search(r"/(root|home|Users|work|tmp)/\w", path.read_text()), path.name
