"""Installations: what is found, what is built, what is refused, and what is said."""

from __future__ import annotations

import http.server
import io
import os
import shutil
import stat
import sys
import tarfile
import threading
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from heavyweight.errors import InstallFailed, NotInstalled, ServerError
from heavyweight.servers import install_ollama, install_vllm, installing, ollama_release
from heavyweight.servers.base import Installed
from heavyweight.servers.installing import find, folder_of, only_one, record, say, sha256_of, step

SAYS = '#!/bin/sh\necho "Warning: could not connect"\necho "Warning: client version is {}"\n'


def program(path: Path, text: str) -> Path:
    """An executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def bin_only(tmp_path, monkeypatch) -> Path:
    """A PATH with the system's basic programs and one empty folder before them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "echo"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(ollama_release, "RELEASES", "http://127.0.0.1:1")
    monkeypatch.setattr(install_ollama, "gpus", list)
    return folder


class TestRecord:
    def test_what_was_recorded_is_found(self, tmp_path):
        path = program(tmp_path / "x", "")
        one = record(Installed("ollama", "1.2.3", path, {"flags": str(Path.home() / "inc")}))
        assert find("ollama", "1.2.3") == one
        assert one.software().detail == {"flags": "~/inc"}

    def test_another_version_is_not(self, tmp_path):
        record(Installed("ollama", "1.2.3", program(tmp_path / "x", ""), {}))
        with pytest.raises(NotInstalled, match=r"ollama 1\.2\.4 .*servers install ollama"):
            find("ollama", "1.2.4")

    def test_a_program_that_went_away_is_not(self, tmp_path):
        record(Installed("ollama", "1.2.3", tmp_path / "gone", {}))
        with pytest.raises(NotInstalled):
            find("ollama", "1.2.3")

    def test_a_build_for_another_processor_is_not(self, tmp_path):
        path = program(tmp_path / "x", "")
        record(Installed("ollama", "1.2.3", path, {"processor": installing.processor()}))
        assert find("ollama", "1.2.3")
        record(Installed("ollama", "1.2.3", path, {"processor": "another"}))
        with pytest.raises(NotInstalled):
            find("ollama", "1.2.3")

    def test_a_record_that_was_cut_off_is_not(self):
        folder = folder_of("vllm", "1")
        folder.mkdir(parents=True)
        (folder / "install.json").write_text('{"name": "vllm"')
        with pytest.raises(NotInstalled):
            find("vllm", "1")


class TestStep:
    def test_a_step_that_fails_shows_its_last_lines(self, tmp_path, said):
        command = [sys.executable, "-c", "print('no space left'); raise SystemExit(7)"]
        with pytest.raises(InstallFailed, match=r"status 7(.|\n)*no space left") as error:
            step("unpacking", command, tmp_path / "log", said.append)
        assert str(tmp_path / "log") in error.value.remedy
        assert said == ["unpacking"]

    def test_a_long_step_says_that_it_still_runs(self, tmp_path, said, monkeypatch):
        monkeypatch.setattr(installing, "HEARTBEAT_S", 0.05)
        command = [sys.executable, "-u", "-c", "print('part 3'); import time; time.sleep(1)"]
        step("unpacking", command, tmp_path / "log", said.append)
        assert any(line.endswith("s (part 3)") for line in said)

    def test_an_interrupted_step_leaves_no_process(self, tmp_path, monkeypatch):
        monkeypatch.setattr(installing, "HEARTBEAT_S", 0.05)
        pid = tmp_path / "pid"
        code = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"

        def interrupt(line: str) -> None:
            if pid.exists() and pid.read_text():
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            step("waiting", [sys.executable, "-c", code], tmp_path / "log", interrupt)
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)

    def test_a_variable_of_the_step_is_on_top_of_the_users(self, tmp_path, monkeypatch):
        monkeypatch.setenv("THEIRS", "1")
        code = "import os; print(os.environ['THEIRS'], os.environ['OURS'])"
        step("x", [sys.executable, "-c", code], tmp_path / "log", print, {"OURS": "2"})
        assert (tmp_path / "log").read_text() == "1 2\n"

    def test_a_program_that_cannot_be_asked_is_a_server_error(self):
        with pytest.raises(ServerError, match="cannot be run"):
            say(["/no-such-program"])
        with pytest.raises(ServerError, match="status 3"):
            say([sys.executable, "-c", "raise SystemExit(3)"])

    def test_a_second_installation_waits_for_the_first(self, said):
        order = []

        def second() -> None:
            with only_one("x", "1", said.append):
                order.append("second")

        with only_one("x", "1", said.append):
            thread = threading.Thread(target=second)
            thread.start()
            while not said:
                thread.join(0.01)
            order.append("first")
        thread.join()
        assert order == ["first", "second"]
        assert "waiting" in said[0]


class TestOllama:
    @pytest.mark.parametrize(
        "text", ["ollama version is 0.24.0", "Warning: client version is 0.24.0"]
    )
    def test_the_programs_own_version_is_read(self, tmp_path, text):
        path = program(tmp_path / "ollama", f"#!/bin/sh\necho '{text}'\n")
        assert install_ollama.version_of(path) == "0.24.0"

    def test_where_a_server_runs_its_version_is_not_the_programs(self, tmp_path):
        text = "ollama version is 0.9.9\nWarning: client version is 0.24.0"
        path = program(tmp_path / "ollama", f"#!/bin/sh\necho '{text}'\n")
        assert install_ollama.version_of(path) == "0.24.0"

    def test_the_right_version_on_path_is_used_as_it_is(self, bin_only, said):
        path = program(bin_only / "ollama", SAYS.format("0.24.0"))
        installed = install_ollama.install("0.24.0", said.append)
        assert (installed.path, installed.version) == (path, "0.24.0")
        assert installed.build == {"source": "on PATH", "sha256": sha256_of(path)}
        assert find("ollama", "0.24.0") == installed
        assert install_ollama.install("0.24.0", said.append) == installed
        assert said == ["Ollama 0.24.0 is installed (on PATH)"] * 2

    @pytest.mark.parametrize(
        ("script", "line"),
        [
            (SAYS.format("0.23.1"), "the Ollama on PATH is version 0.23.1, not 0.24.0"),
            ("#!/bin/sh\nexit 1\n", "the Ollama on PATH is not used"),
        ],
    )
    def test_a_wrong_one_on_path_is_said_and_not_used(self, bin_only, said, script, line):
        program(bin_only / "ollama", script)
        with pytest.raises(NotInstalled, match=r"go is not on PATH.*install Go 1\.26"):
            install_ollama.install("0.24.0", said.append)
        assert said[0].startswith(line)
        assert said[1].startswith("Ollama's own release cannot be had")

    def test_without_a_compiler_the_remedy_is_said(self, bin_only, said):
        program(bin_only / "go", "#!/bin/sh\n")
        with pytest.raises(NotInstalled, match="gcc is not on PATH"):
            install_ollama.install("0.24.0", said.append)

    def test_beside_a_gpu_a_build_without_gpu_code_is_refused(self, bin_only, said, monkeypatch):
        for name in ("go", "gcc", "g++"):
            program(bin_only / name, "#!/bin/sh\n")
        monkeypatch.setattr(install_ollama, "gpus", lambda: [{}])
        with pytest.raises(NotInstalled, match="conda-forge"):
            install_ollama.install("0.24.0", said.append)

    def test_a_program_that_was_replaced_is_installed_again(self, bin_only, said):
        path = program(bin_only / "ollama", SAYS.format("0.24.0"))
        install_ollama.install("0.24.0", said.append)
        program(path, SAYS.format("0.25.0"))
        with pytest.raises(NotInstalled):
            install_ollama.install("0.24.0", said.append)

    @pytest.mark.parametrize(
        ("macros", "flags"),
        [
            ("#define __AVX2__ 1", ["-march=native"]),
            ("#define __AMX_INT8__ 1", ["-march=native", *install_ollama.WITHOUT_AMX]),
        ],
    )
    def test_amx_is_left_out_where_the_compiler_would_use_it(
        self, bin_only, monkeypatch, macros, flags
    ):
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        program(bin_only / "gcc", f"#!/bin/sh\necho '{macros}'\n")
        assert install_ollama._processor_flags() == flags

    def test_without_debian_the_missing_headers_are_named(self, bin_only, tmp_path, monkeypatch):
        monkeypatch.setattr(install_ollama, "_system_header", lambda header: None)
        with pytest.raises(NotInstalled, match=r"nlohmann/json\.hpp is missing"):
            install_ollama._headers(tmp_path / "headers", print)


def pack(archive: Path, *more: tarfile.TarInfo) -> None:
    """Write a release with further members, which are empty, and its checksum."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        data = SAYS.format("0.24.0").encode()
        info = tarfile.TarInfo("bin/ollama")
        info.size, info.mode = len(data), 0o755
        tar.addfile(info, io.BytesIO(data))
        for member in more:
            tar.addfile(member, io.BytesIO())
    with pa.output_stream(str(archive), compression="zstd") as stream:
        stream.write(raw.getvalue())
    (archive.parent / "sha256sum.txt").write_text(
        f"{'0' * 64}  ./other.tgz\n{sha256_of(archive)}  ./{archive.name}\n"
    )


@pytest.fixture
def releases(tmp_path, monkeypatch):
    """A release of Ollama on a server of the test's own; its archive."""
    folder = tmp_path / "www" / "v0.24.0"
    folder.mkdir(parents=True)
    name = "ollama-linux-amd64.tar.zst"
    monkeypatch.setattr(ollama_release, "ARCHIVES", {(sys.platform, _machine()): name})
    pack(folder / name)
    handler = partial(Quiet, directory=str(folder.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(ollama_release, "RELEASES", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr(ollama_release, "SHA256", {})
    yield folder / name
    server.shutdown()
    server.server_close()
    thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; resumes where `resumes` says so."""

    resumes = False

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        if not (self.resumes and wanted):
            super().do_GET()
            return
        data = Path(self.translate_path(self.path)).read_bytes()
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start < len(data) else 416)
        self.send_header("Content-Length", str(max(0, len(data) - start)))
        self.end_headers()
        self.wfile.write(data[start:])

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _machine() -> str:
    return os.uname().machine


class TestRelease:
    def test_a_release_is_checked_and_unpacked(self, releases, tmp_path):
        archive = releases
        path, digest = ollama_release.fetch("0.24.0", tmp_path, print)
        assert install_ollama.version_of(path) == "0.24.0"
        assert digest == sha256_of(archive)
        assert not list(tmp_path.glob("*.zst*"))

    def test_it_is_used_where_there_is_none_on_path(self, bin_only, releases, said):
        installed = install_ollama.install("0.24.0", said.append)
        assert installed.build["source"] == "Ollama's release"
        assert installed.build["archive_sha256"] == sha256_of(releases)

    def test_a_wrong_checksum_is_refused_and_the_file_removed(self, releases, tmp_path):
        archive = releases
        archive.write_bytes(archive.read_bytes() + b"x")
        with pytest.raises(InstallFailed, match="checksum"):
            ollama_release.fetch("0.24.0", tmp_path, print)
        assert not list(tmp_path.glob("*.zst*"))

    def test_a_release_that_was_exchanged_with_its_checksum_is_refused(
        self, releases, tmp_path, monkeypatch
    ):
        """What the study knows counts, not what lies beside the archive."""
        known = {("0.24.0", releases.name): "0" * 64}
        monkeypatch.setattr(ollama_release, "SHA256", known)
        with pytest.raises(InstallFailed, match="checksum"):
            ollama_release.fetch("0.24.0", tmp_path, print)

    def test_the_checksums_of_the_study_s_own_version_are_known(self):
        names = {name for version, name in ollama_release.SHA256}
        assert {version for version, _ in ollama_release.SHA256} == {install_ollama.VERSION}
        assert names == set(ollama_release.ARCHIVES.values())

    def test_an_archive_whose_checksum_is_not_told_is_refused(self, releases, tmp_path):
        archive = releases
        (archive.parent / "sha256sum.txt").write_text("")
        with pytest.raises(InstallFailed, match="do not name"):
            ollama_release.fetch("0.24.0", tmp_path, print)

    @pytest.mark.parametrize(
        ("name", "link"),
        [("../outside", ""), ("bin/../../outside", ""), ("bin/out", "../../outside"),
         ("bin/out", "/etc/passwd")],
        ids=["beside", "through a folder", "link beside", "link to the system"],
    )  # fmt: skip
    def test_an_archive_that_would_write_or_point_outside_is_refused(
        self, releases, tmp_path, name, link
    ):
        """Its checksum is right: whoever made the archive made the checksum too."""
        member = tarfile.TarInfo(name)
        member.type, member.linkname = (tarfile.SYMTYPE if link else tarfile.REGTYPE), link
        pack(releases, member)
        into = tmp_path / "into"
        into.mkdir()
        with pytest.raises(InstallFailed, match="would lie elsewhere"):
            ollama_release.fetch("0.24.0", into, print)
        assert not list(tmp_path.rglob("outside"))
        assert not list(into.rglob("out"))

    def test_a_server_that_cannot_resume_sends_the_whole_again(self, releases, tmp_path):
        archive = releases
        (tmp_path / f"{archive.name}.part").write_bytes(b"left over")
        path, _ = ollama_release.fetch("0.24.0", tmp_path, print)
        assert path.exists()

    @pytest.mark.parametrize("have", [1, 100, None], ids=["begun", "more", "all of it"])
    def test_a_download_goes_on_where_it_stopped(self, releases, tmp_path, monkeypatch, have):
        monkeypatch.setattr(Quiet, "resumes", True)
        part = tmp_path / f"{releases.name}.part"
        part.write_bytes(releases.read_bytes()[:have])
        _, digest = ollama_release.fetch("0.24.0", tmp_path, print)
        assert digest == sha256_of(releases)
        assert not part.exists()

    def test_a_system_without_a_release_is_refused(self, monkeypatch, tmp_path):
        monkeypatch.setattr(ollama_release, "ARCHIVES", {})
        with pytest.raises(InstallFailed, match="no release for"):
            ollama_release.fetch("0.24.0", tmp_path, print)


class TestVllm:
    def test_too_little_space_is_said_before_anything_is_moved(self, tmp_path, monkeypatch, said):
        monkeypatch.setattr(install_vllm, "FREE_BYTES", 1 << 60)
        with pytest.raises(InstallFailed, match="HEAVYWEIGHT_CACHE"):
            install_vllm.install("0.21.0", said.append)
        assert said == []

    def test_another_system_is_refused(self, monkeypatch):
        monkeypatch.setattr("platform.machine", lambda: "riscv64")
        with pytest.raises(NotInstalled, match="arm `openai`"):
            install_vllm.install("0.21.0", print)

    def test_an_old_driver_is_refused(self, monkeypatch):
        monkeypatch.setattr(install_vllm, "gpus", lambda: [{}])
        monkeypatch.setattr(install_vllm, "_driver_cuda", lambda: 12080)
        with pytest.raises(InstallFailed, match=r"carries CUDA 12\.8.*driver 580"):
            install_vllm.install("0.21.0", print)

    def test_what_was_installed_from_the_same_pins_is_kept(self, tmp_path, monkeypatch, said):
        monkeypatch.setattr(install_vllm, "gpus", list)
        digest = sha256_of(install_vllm.pins("cpu", "0.21.0"))
        python = program(tmp_path / "python", "")
        build = {"device": "cpu", "packages_sha256": digest}
        one = record(Installed("vllm", "0.21.0", python, build))
        assert install_vllm.install("0.21.0", said.append) == one
        assert said == ["vLLM 0.21.0 is installed (cpu)"]
