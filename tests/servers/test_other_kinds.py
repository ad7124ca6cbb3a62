"""A server at a URL, the emulated server, and the way from an arm to its server."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from heavyweight import servers
from heavyweight.errors import BadInput, NotInstalled, NotReady, ServerError
from heavyweight.servers import asking
from heavyweight.servers.emulated import EmulatedServer
from heavyweight.servers.ollama import OllamaServer
from heavyweight.servers.openai import OpenaiServer
from heavyweight.servers.vllm import VllmServer
from tests.servers.arms import arm, config
from tests.servers.conftest import answering


@pytest.mark.parametrize(
    ("kind", "server"),
    [("ollama", OllamaServer), ("vllm", VllmServer), ("emulated", EmulatedServer)],
)
def test_an_arm_has_a_server(kind, server):
    assert type(servers.server_for(arm(kind))) is server


@pytest.mark.parametrize("kind", ["ollama", "vllm"])
def test_what_is_not_installed_is_said(kind):
    with pytest.raises(NotInstalled, match=f"heavyweight servers install {kind}"):
        servers.installed(arm(kind))


def test_some_servers_need_nothing_installed():
    assert servers.installed(arm("emulated")) is None
    assert servers.installed(arm("openai")) is None
    assert servers.install("emulated", lambda _: None).path.samefile(sys.executable)
    with pytest.raises(BadInput):
        servers.install("openai", lambda _: None)


def test_cores_are_those_that_may_be_used():
    usable = servers.cores("all")
    assert servers.cores([usable[-1], usable[-1]]) == [usable[-1]]
    for wrong in ([], [100_000], [-1]):
        with pytest.raises(BadInput, match=r"study\.toml"):
            servers.cores(wrong)


class TestOpenai:
    def start(self, port: int, tmp_path, **fields) -> OpenaiServer:
        of = arm("openai", base_url=f"http://127.0.0.1:{port}/v1/", **fields)
        server = servers.server_for(of)
        server.start(config(of, tmp_path / "log"))
        return server

    def test_a_running_server_is_found_and_left_alone(self, tmp_path):
        with answering({"/v1/models": {"data": [{"id": "theirs"}]}}) as port:
            server = self.start(port, tmp_path, extra_body={"top_k": 1})
            assert server.ready() >= 0
            assert server.base_url == f"http://127.0.0.1:{port}"
            assert (server.served_model, server.extra_body) == ("theirs", {"top_k": 1})
            assert server.identify().model == "theirs"
            record = server.start_record(1)
            assert (record.port, record.pgid, record.command) == (port, None, [])
            server.stop()
            assert server.alive()
            assert server.idle() is None
        assert not server.alive()

    def test_one_of_several_models_must_be_named(self, tmp_path):
        with answering({"/v1/models": {"data": [{"id": "a"}, {"id": "b"}]}}) as port:
            with pytest.raises(ServerError, match=r"serves \['a', 'b'\]"):
                self.start(port, tmp_path).ready()
            server = self.start(port, tmp_path, served_model="b")
            server.ready()
            assert server.served_model == "b"
            with pytest.raises(ServerError, match="Expected: c"):
                self.start(port, tmp_path, served_model="c").ready()

    def test_one_that_does_not_answer_is_not_ready(self, tmp_path):
        server = self.start(servers.free_port(), tmp_path)
        with pytest.raises(NotReady, match="start it, or correct --base-url"):
            server.ready(0.1)

    @pytest.mark.parametrize(
        "url", ["http://10.1.2.3:8000/v1", "http://example.org", "https://127.0.0.1.example.org"]
    )
    def test_another_machine_needs_leave(self, url):
        of = arm("openai", base_url=url)
        with pytest.raises(BadInput, match="another machine"):
            servers.server_for(of)
        assert servers.server_for(of, allow_remote=True).base_url == url.removesuffix("/v1")

    @pytest.mark.parametrize("url", [None, "", "127.0.0.1:8000", "ftp://127.0.0.1"])
    def test_a_url_that_is_none_is_refused(self, url):
        with pytest.raises(BadInput, match="is no address of a server"):
            servers.server_for(arm("openai", base_url=url))


@pytest.mark.parametrize("api", ["ollama", "vllm"])
def test_the_emulated_server_lives_the_life_of_a_server(tmp_path, api):
    of = arm("emulated", emulate={"api": api, "ttft_ms": 5, "itl_ms": 50})
    server = servers.server_for(of)
    given = config(of, tmp_path / "server-1.log")
    server.start(given)
    try:
        assert server.ready(60) > 0
        assert server.identify().model == "tiny"
        assert server.idle() is True
        body = {
            "model": "tiny", "stream": True, "max_tokens": 40,
            "messages": [{"role": "user", "content": "tell"}],
        }  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", given.port)
        head = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), head)
        answer = connection.getresponse()
        answer.readline()
        assert server.idle() is False
        answer.read()
        connection.close()
        while not server.idle():  # it may still be closing the stream that was read to its end
            server.process.wait(0.01)
        assert server.settings()["api"] == api
    finally:
        server.stop()
    assert not server.alive()


def test_an_answer_that_points_elsewhere_is_not_followed(tmp_path):
    """Headers would go there too: a key, to whom the server names."""
    seen = []

    class Pointing(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/other")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pointing)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1/models"
    try:
        assert asking.status_of(url) == 307
        with pytest.raises(ServerError, match="answered 307"):
            asking.get_json(url, headers={"Authorization": "Bearer x"})
        with pytest.raises(ServerError, match="answered 307"):
            asking.post_json(url, {})
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert {path for path, _ in seen} == {"/v1/models"}


def test_a_server_of_another_name_is_not_taken_for_the_emulated_one(tmp_path):
    with answering({"/v1/models": {"data": [{"id": "other"}]}}) as port:
        server = EmulatedServer(arm("emulated"))
        server.base_url, server.served_model = f"http://127.0.0.1:{port}", "tiny"
        with pytest.raises(ServerError, match="other"):
            server.identify()
