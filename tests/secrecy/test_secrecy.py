"""Nobody is let in, and nothing is let out: one study and a load, looked at from all sides.

It is run once, by the command, with keys and names planted in its environment, against an emulated
server and one that answers with markup and sends the key back. Then every byte that was written is
searched, the page is opened in a browser, and what was connected to is read.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.kills import small_study
from heavyweight.experiments.probes.network import namespace
from tests.browser import CHROMIUM, asked, browsed
from tests.secrecy.evil import MARKUP, SCRIPT

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
TOKEN, KEY = "hf_plantedTokenOfNobody0123", "sk-planted/key+of=nobody-98765"
USER, HOST, PERSON = "plantedmallory", "plantedhost7", "planted-home-of-mallory"
# In the environment, and nowhere else; the last one is part of the home folder's name.
PLANTED = (TOKEN, KEY, USER, HOST, PERSON)
OURS = ("analysis/", "data/article/", "data/reference-")  # copied from the checkout
LOOPBACK = re.compile(
    r"\('(?:127\.[\d.]+|::1)', \d+(?:, \d+, \d+)?\)|'localhost'|'127\.[\d.]+'|'::1'"
)

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Secluded:
    """What was made, what was seen meanwhile, and whether names and network were apart."""

    place: Path
    seen: dict[str, Any]
    connections: list[list[str]]
    apart: bool


@pytest.fixture(scope="module")
def secluded(tmp_path_factory: pytest.TempPathFactory) -> Secluded:
    home = tmp_path_factory.mktemp("secluded") / PERSON
    home.mkdir()
    place, told = home / "study", home / "connections.jsonl"
    with small_study(place):
        shutil.copytree(ROOT / "analysis", place / "analysis")
        for name in ("article", "reference-aa", "reference-memory"):
            shutil.copytree(ROOT / "data" / name, place / "data" / name)
        for name in ("hardware.toml", "models.toml"):
            shutil.copy(ROOT / "data" / name, place / "data" / name)
    words, apart = [], False
    for flags in (["--user", "--map-root-user", "--net", "--uts"], ["--net", "--uts"]):
        tried = [shutil.which("unshare") or "false", *flags]
        if not subprocess.run([*tried, "true"], capture_output=True, check=False).returncode:
            words, apart = tried, True
            break
    environment = os.environ | {
        "HF_TOKEN": TOKEN, "PLANTED_API_KEY": KEY, "PLANTED_HOST": HOST, "HOME": str(home),
        "USER": USER, "LOGNAME": USER, "HEAVYWEIGHT_CACHE": str(home / "cache"),
        "XDG_CACHE_HOME": str(home / ".cache"), "SECLUDED": "yes" if apart else "no",
        "PLANTED_LABEL": f"label {MARKUP} $x_{{", "TOLD_CONNECTIONS": str(told),
        "PYTHONPATH": os.pathsep.join([str(HERE), str(ROOT)]),
    }  # fmt: skip
    subprocess.run(
        [*words, sys.executable, "-m", "tests.secrecy", str(place)],
        cwd=place, env=environment, check=True, start_new_session=True,
    )  # fmt: skip
    return Secluded(
        place,
        json.loads((home / "seen.json").read_text()),
        [json.loads(line) for line in told.read_text().splitlines()],
        apart,
    )


def texts(place: Path) -> Iterator[tuple[str, str]]:
    """Every byte that was written, as text, by the name of its file; archives are opened."""
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        yield f"the name {name}", name
        if path.is_symlink() or not path.is_file() or name.startswith(OURS):
            continue
        yield name, path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            yield name, columns(pq.read_table(path))
        if path.suffix == ".gz":
            yield name, gzip.decompress(path.read_bytes()).decode("latin-1")
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    data = archive.read(member)
                    yield f"{name}:{member}", data.decode("latin-1")
                    if member.endswith(".parquet"):
                        yield f"{name}:{member}", columns(pq.read_table(pa.BufferReader(data)))


def columns(table: pa.Table) -> str:
    """A table as text, with its metadata."""
    metadata = b" ".join((table.schema.metadata or {}).values()).decode()
    words = [column for column in table.columns if pa.types.is_string(column.type)]
    return metadata + " ".join(str(v) for column in words for v in column.to_pylist())


def coded(value: str) -> Iterator[str]:
    """What base64 makes of a value at each of three places, less its unsure ends."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + value.encode()).decode().rstrip("=")
        yield whole[4 if before else 0 : -2]


def test_everything_ran_to_its_end(secluded: Secluded) -> None:
    codes = secluded.seen["codes"]
    said = secluded.place / "said"
    told = {name: (said / f"{name}.txt").read_text()[-1500:] for name in codes}
    for name in ("run", "report", "show", "verify", "pack", "load", "fleet"):
        assert codes[name] == 0, told[name]
    run = secluded.place / "data" / "runs" / "r"
    assert len(list(run.glob("b01-*/n*.parquet"))) >= 2
    assert secluded.seen["looks"] > 10


def test_no_planted_name_or_key_is_written_or_said(secluded: Secluded) -> None:
    found, read = [], 0
    if not secluded.apart:  # the host has its own name here
        assert secluded.seen["host"] != HOST
    for name, text in texts(secluded.place):
        read += 1
        for planted in PLANTED:
            forms = [planted, *coded(planted)] if planted in (TOKEN, KEY) else [planted]
            found += [(name, form) for form in forms if form in text]
    assert not found
    assert read > 100
    names = {name for name, _ in texts(secluded.place)}
    for needed in ("said/run.txt", "loaded/load.json", "data/runs/r/report.html",
                   "data/runs/r/SHA256SUMS", "r.zip:manifest.json"):  # fmt: skip
        assert needed in names


def test_a_key_that_a_server_sends_back_is_hidden_and_the_error_kept(secluded: Secluded) -> None:
    for folder in ("loaded", "fleet"):
        (file,) = (secluded.place / folder).glob("n*.parquet")
        rows = pq.read_table(file).to_pandas()
        failed = rows[rows["error"].notna()]
        assert set(failed["error"]) == {"http_5xx"}
        assert failed["error_detail"].str.contains("<secret>").all()
        good = rows[rows["error"].isna()]
        for column in ("response_id", "finish_reason"):
            assert good[column].str.contains("Bearer <secret> .*<script>").all()
    said = json.loads((secluded.place / "loaded" / "load.json").read_text())
    assert said["server"]["headers"] == ["Authorization"]
    assert said["server"]["version"].startswith("1 Bearer <secret> <")


def test_no_half_of_a_key_is_left_at_the_cut(secluded: Secluded) -> None:
    for name, text in texts(secluded.place):
        assert KEY[:9] not in text, name


def test_a_terminal_obeys_no_server(secluded: Secluded) -> None:
    for path in (secluded.place / "said").iterdir():
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", path.read_text()), path.name


def test_there_was_no_network_and_it_ran_all_the_same(secluded: Secluded) -> None:
    if not secluded.apart:
        pytest.skip("network namespaces are not permitted here")
    assert namespace() is not None
    assert secluded.seen["interfaces"] == ["lo"]
    assert secluded.seen["outside"] == "unreachable"
    assert secluded.seen["host"] == HOST


def test_every_connection_was_to_this_machine(secluded: Secluded) -> None:
    """Told by every Python of the study itself; servers have a clean environment and tell none."""
    strange = []
    for event, where, who in secluded.connections:
        if who.startswith("-m tests.secrecy"):  # it tries to leave, to see that it cannot
            continue
        local = LOOPBACK.fullmatch(where) or not where.startswith(("(", "'", "b'"))
        if event == "urllib.Request":
            local = re.match(r"'http://(127\.0\.0\.1|localhost)[:/]", where)
        if where.startswith(("'/", "b'", "'\\x00")):  # a socket of this machine's files
            local = True
        if not local and where not in ("('', 0)", "None"):
            strange.append((event, where, who))
    assert not strange
    tellers = {who for _, _, who in secluded.connections}
    for part in ("heavyweight.load", "ipykernel_launcher"):
        assert any(part in who for who in tellers), tellers


def test_every_socket_listened_on_this_machine_only(secluded: Secluded) -> None:
    listening, peers = secluded.seen["listening"], secluded.seen["peers"]
    assert set(listening) <= {"127.0.0.1", "::1"}, listening
    assert set(peers) <= {"127.0.0.1", "::1"}, peers
    names = " ".join(listening["127.0.0.1"])
    for part in ("heavyweight.emulator", "ipykernel_launcher"):
        assert part in names, names


@pytest.fixture(scope="module")
def page(secluded: Secluded) -> Path:
    return secluded.place / "data" / "runs" / "r" / "report.html"


def harmless(page: Path, folder: Path) -> tuple[bool, list[str]]:
    """Whether a page did nothing that a server told it, and whom it asked."""
    log = folder / "net.json"
    shown = browsed(page, folder / "profile", f"--log-net-log={log}", "--dump-dom")
    assert "</html>" in shown
    ran = 'data-owned="yes"' in shown or "<title>OWNED" in shown
    return not ran, asked(log)


@pytest.mark.page
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("guarded", [True, False], ids=["as-it-is", "without-its-policy"])
def test_no_markup_of_a_server_runs_on_the_page(page: Path, tmp_path: Path, guarded: bool) -> None:
    """Escaping alone is enough; the page's policy, which forbids scripts, is a second wall."""
    text = page.read_text(encoding="utf-8")
    assert "&lt;script&gt;" in text, "what the server said is on the page"
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', text)
    assert policy is not None
    copy = tmp_path / "page.html"
    copy.write_text(text if guarded else text.replace(policy[0], ""), encoding="utf-8")
    assert harmless(copy, tmp_path) == (True, [])


@pytest.mark.page
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_markup_that_is_not_escaped_is_caught(tmp_path: Path) -> None:
    """The test above can fail."""
    copy = tmp_path / "page.html"
    copy.write_text(f"<!DOCTYPE html><title>x</title><p>{MARKUP}", encoding="utf-8")
    unhurt, hosts = harmless(copy, tmp_path)
    assert not unhurt
    assert any("owned.invalid" in host for host in hosts)


def test_no_markup_of_a_server_runs_in_a_notebook(secluded: Secluded) -> None:
    """JupyterLab shows HTML as it is: none that a server sent may be in an output."""
    found = list((secluded.place / "data" / "runs" / "r").rglob("*.ipynb"))
    assert len(found) > 5
    for path in found:
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                rich = [v for kind, v in data.items() if kind in ("text/html", "text/markdown")]
                assert not any(SCRIPT in str(one) for one in rich), path.name
