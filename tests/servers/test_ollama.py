"""Ollama: what it is started with, and what it must say of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from heavyweight.errors import BadInput, NotInstalled, ServerError
from heavyweight.servers.base import Installed
from heavyweight.servers.installing import record
from heavyweight.servers.ollama import OllamaServer
from tests.servers.arms import SHA256, arm, artefact, config
from tests.servers.conftest import answering

LOADED = (
    'level=INFO msg=load request="{Operation:commit LoraPath:[] Parallel:8 BatchSize:512 '
    'FlashAttention:Auto KvSize:16384 KvCacheType: NumThreads:2 GPULayers:[] MultiUserCache:false}"'
)


@pytest.fixture
def table():
    """A healthy Ollama's answers, loaded."""
    return {
        "/api/version": {"version": "0.24.0"},
        "/api/show": {
            "modelfile": f"# Modelfile\nFROM /models/blobs/sha256-{SHA256}\nTEMPLATE x\n",
            "parameters": "temperature    0\nrepeat_penalty    1",
            "details": {"quantization_level": "Q4_1"},
        },
        "/api/ps": {"models": [{"size": 10, "size_vram": 0, "context_length": 2048}]},
    }


@pytest.fixture
def found(tmp_path, table):
    """A server object that takes a stub for its Ollama."""
    with answering(table) as port:
        server = OllamaServer(arm("ollama"))
        log = tmp_path / "log"
        log.write_text(LOADED)
        given = config(server.arm, log, port=port, artefact=artefact(tmp_path, "tiny-q4"))
        server.base_url = f"http://127.0.0.1:{port}"
        server.served_model = server.name_of_model(given)
        server._config = given
        yield server


def test_it_is_started_with_the_studys_settings_only(tmp_path, cache):
    server = OllamaServer(arm("ollama", slots=3))
    given = config(server.arm, tmp_path / "log", artefact=artefact(tmp_path, "tiny-q4"))
    with pytest.raises(NotInstalled, match="servers install ollama"):
        server.command(given)
    program = tmp_path / "ollama"
    program.touch()
    record(Installed("ollama", "0.24.0", program, {"source": "test"}))
    assert server.command(given) == [str(program), "serve"]
    assert server.name_of_model(given) == "tiny-q4"
    environment = server.environment(given)
    assert environment["OLLAMA_HOST"] == f"127.0.0.1:{given.port}"
    assert environment["OLLAMA_NUM_PARALLEL"] == "3"
    assert environment["OLLAMA_CONTEXT_LENGTH"] == "2048"
    assert environment["OLLAMA_KEEP_ALIVE"] == "-1"
    for name in ("HOME", "OLLAMA_MODELS"):
        assert environment[name].startswith(str(cache))
    assert "OLLAMA_NUM_PARALLEL=3" in server.settings()["slots"]
    as_it_comes = replace(given, port=server.usual_port, default_port=True)
    assert "OLLAMA_HOST" not in server.environment(as_it_comes)
    assert server.usual_port == 11434


def test_flags_are_refused_as_it_takes_none(tmp_path):
    server = OllamaServer(arm("ollama", flags=["--fast"]))
    with pytest.raises(BadInput, match="OLLAMA_"):
        server.command(config(server.arm, tmp_path / "log"))


def test_identity_is_version_weights_and_how_the_model_is_loaded(found):
    assert found.answers()
    identity = found.identify()
    assert (identity.server, identity.version, identity.model) == ("ollama", "0.24.0", "tiny-q4")
    assert identity.model_digest == SHA256
    assert identity.detail == {
        "quantisation": "Q4_1", "parameters": "temperature 0 repeat_penalty 1", "size_bytes": "10",
        "size_vram_bytes": "0", "context_tokens": "2048", "slots": "8", "kv_tokens": "16384",
        "threads": "2",
    }  # fmt: skip
    assert found.idle() is None


def test_before_the_first_request_nothing_is_loaded(found, table):
    table["/api/ps"] = {"models": []}
    assert "slots" not in found.identify().detail


@pytest.mark.parametrize(
    ("path", "answer", "message"),
    [
        ("/api/version", {"version": "0.23.9"}, "says version 0.23.9. Expected: version 0.24.0"),
        ("/api/show", {"modelfile": f"FROM /b/sha256-{'cd' * 32}"}, "weights .* cdcdcd"),
        ("/api/show", {"modelfile": "FROM elsewhere"}, "weights .* None"),
        ("/api/show", 404, "does not serve tiny-q4.*models prepare"),
        ("/api/ps", {"models": [{"context_length": 4096}]}, "context 4096"),
        ("/api/version", "<html>", "Expected: JSON"),
    ],
)
def test_what_the_arm_does_not_say_is_refused(found, table, path, answer, message):
    table[path] = answer
    with pytest.raises(ServerError, match=message):
        found.identify()


def test_other_slots_than_the_arms_are_refused(found):
    log = found._config.log_path
    log.write_text(log.read_text().replace("Parallel:8", "Parallel:1"))
    with pytest.raises(ServerError, match=r"slots 1\. Expected: slots 8"):
        found.identify()


def test_on_some_of_the_cores_it_runs_as_many_threads(tmp_path, table):
    """It counts the machine's cores itself, so a model with the number of threads is made."""
    table["/api/create"] = {"status": "success"}
    with answering(table) as port:
        server = OllamaServer(arm("ollama"))
        server.base_url, server.served_model = f"http://127.0.0.1:{port}", "tiny-q4"
        server._limit_threads(1)
    assert server.served_model == "tiny-q4-t1"
