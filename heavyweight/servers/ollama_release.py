"""Ollama's own release: downloaded, held against its checksum, unpacked.

Not run here: the machine on which this was written cannot reach the releases. The names of the
archives and of their checksum file are those of Ollama's release workflow at v0.24.0.
"""

from __future__ import annotations

import http.client
import platform
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pyarrow as pa

from heavyweight.errors import InstallFailed
from heavyweight.servers.base import Progress
from heavyweight.servers.installing import sha256_of

RELEASES = "https://github.com/ollama/ollama/releases/download"
TIMEOUT_S = 15.0
BLOCK_BYTES = 1 << 20
# Of the releases that the study was written for; the checksums of another are taken from itself.
SHA256 = {
    ("0.24.0", "ollama-linux-amd64.tar.zst"): (
        "15c5f8d66ba06e0d3b4719df8868612dbd66e14e82760929bb3552e1657cdcdb"
    ),
    ("0.24.0", "ollama-linux-arm64.tar.zst"): (
        "6e9a3ce5f64e93312902e39c420ec336255f078a368ca25e99b339d08a6dfa4b"
    ),
    ("0.24.0", "ollama-darwin.tgz"): (
        "e6d5e8b4bc0cb2a35ff7901c58d81ca2170403a819c4726f58798155fa682e38"
    ),
}
ARCHIVES = {
    ("linux", "x86_64"): "ollama-linux-amd64.tar.zst",
    ("linux", "aarch64"): "ollama-linux-arm64.tar.zst",
    ("darwin", "arm64"): "ollama-darwin.tgz",
    ("darwin", "x86_64"): "ollama-darwin.tgz",
}


def fetch(version: str, folder: Path, progress: Progress) -> tuple[Path, str]:
    """Download and unpack a release.

    Args:
        version: such as 0.24.0.
        folder: gets the archive for a while, and the folder release/.
        progress: gets the lines.

    Returns:
        The program, and the archive's SHA-256.

    Raises:
        OSError: it cannot be reached.
        InstallFailed: there is none for this machine, or the checksum differs.
    """
    name = ARCHIVES.get((sys.platform, platform.machine()))
    if name is None:
        raise InstallFailed(f"no release for {sys.platform} {platform.machine()}")
    address = f"{RELEASES}/v{version}"
    expected = SHA256.get((version, name)) or _published_sha256(address, name)
    archive = folder / name
    if not (archive.exists() and sha256_of(archive) == expected):
        _download(f"{address}/{name}", archive, progress)
    found = sha256_of(archive)
    if found != expected:
        archive.unlink()
        raise InstallFailed(f"{name} has the checksum {found}", expected, "try again")
    program = _unpack(archive, folder / "release")
    archive.unlink()
    return program, found


def _published_sha256(address: str, name: str) -> str:
    with urllib.request.urlopen(f"{address}/sha256sum.txt", timeout=TIMEOUT_S) as answer:
        return checksum_in(answer.read().decode("utf-8", "replace"), name)


def checksum_in(listing: str, name: str) -> str:
    """The checksum of a file in a `sha256sum` listing."""
    for line in listing.splitlines():
        digest, _, path = line.strip().partition(" ")
        if path.strip().lstrip("*").removeprefix("./") == name and len(digest) == 64:
            return digest.lower()
    raise InstallFailed(f"the release's checksums do not name {name}")


def _download(address: str, path: Path, progress: Progress) -> None:
    """Download a file, going on where an earlier try stopped."""
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            resumed = answer.status == 206
            size = have * resumed + int(answer.headers.get("Content-Length") or 0)
            told = time.monotonic()
            with part.open("ab" if resumed else "wb") as file:
                while block := answer.read(BLOCK_BYTES):
                    file.write(block)
                    if time.monotonic() - told > 5:
                        told = time.monotonic()
                        progress(f"{path.name}: {file.tell() >> 20} of {size >> 20} MiB")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # the part is the whole: nothing is left to send
            raise
    except http.client.HTTPException as error:
        raise OSError(f"{path.name} broke off: {error}") from error
    part.replace(path)


def _unpack(archive: Path, folder: Path) -> Path:
    """Unpack into a folder; the `ollama` program in it."""
    compression = "zstd" if archive.suffix == ".zst" else "gzip"
    with (
        pa.input_stream(str(archive), compression=compression) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        try:
            tar.extractall(folder, filter="data")
        except tarfile.FilterError as error:
            raise InstallFailed(
                f"{archive.name} holds a file that would lie elsewhere: {error}",
                "files below its own folder",
                "do not use that archive",
            ) from error
    for program in (folder / "bin" / "ollama", folder / "ollama"):
        if program.is_file():
            return program
    raise InstallFailed(f"{archive.name} holds no program called ollama")
