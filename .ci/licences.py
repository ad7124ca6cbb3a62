"""``python .ci/licences.py [--check]``: LICENSES.md, the licence of every locked package.

A licence is what a package's own metadata says: its licence expression, else its classifiers, else
the first line of its licence field. With --check nothing is written, and the exit code is 1 where
the list is not current.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "LICENSES.md"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ \\]+)", re.M)
CLASSIFIER = "License :: "
# Locked for other systems than Linux: read from their own packages by hand.
ELSEWHERE = {"appnope": "BSD-2-Clause", "colorama": "BSD License", "pywinpty": "MIT"}
# Installed or fetched beside the environment; read by hand from what each publishes of itself.
BESIDE = (
    ("Ollama", "a server", "MIT"),
    ("vLLM", "a server; {lists} name its packages, {packages} with itself", "Apache-2.0"),
    ("SmolLM2-135M-Instruct", "weights of the study", "Apache-2.0"),
    ("Qwen3-8B", "weights of profiles for a GPU", "Apache-2.0"),
    ("Granite-3.3-8B-Instruct", "weights of profiles for a GPU", "Apache-2.0"),
    ("Llama-3.1-8B-Instruct", "weights of profiles for a GPU", "Llama 3.1 Community License"),
)
HEAD = """# Licences

Heavyweight itself is under the Apache License 2.0 (`LICENSE`). This list is written by `make
licences`; `make check` holds it against `requirements.lock` and the installed packages.

## Beside the environment

Servers and weights are fetched by the study and are no part of it. This table is kept by hand, in
`.ci/licences.py`; of the packages that come with vLLM each has a licence of its own, not listed
here.

| what | for | licence |
|---|---|---|
{beside}

## Locked packages

All that `requirements.lock` names: the study's own environment, and what its tests need.

| package | version | licence |
|---|---|---|
"""


def locked() -> dict[str, list[str]]:
    """Name: its versions, of which each system takes one."""
    found: dict[str, list[str]] = {}
    for name, version in PIN.findall((ROOT / "requirements.lock").read_text(encoding="utf-8")):
        found.setdefault(name, []).append(version)
    return dict(sorted(found.items()))


def listed() -> dict[str, str]:
    """Name: licence, as LICENSES.md has it: of packages that only other systems install."""
    text = LIST.read_text(encoding="utf-8") if LIST.exists() else ""
    return ELSEWHERE | dict(re.findall(r"^\| ([\w.-]+) \| [^|]+ \| (.+) \|$", text, re.M))


def licence(name: str, version: str) -> str | None:
    """What a package says of its licence, in one line; None: that version is not installed here."""
    try:
        told = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    if told["Version"] != version:
        return None
    if expression := told.get("License-Expression"):
        return expression
    classes = [one for one in told.get_all("Classifier") or [] if one.startswith(CLASSIFIER)]
    names = [one.rpartition(" :: ")[2] for one in classes if one != "License :: OSI Approved"]
    text = (told.get("License") or "").strip().splitlines()
    return "; ".join(sorted(names)) or (text[0] if text else "") or "not said"


def table() -> tuple[str, list[str]]:
    """The text of LICENSES.md, and the packages whose licence could not be read."""
    rows, unknown, before = [], [], listed()
    for name, versions in locked().items():
        said = licence(name, versions[0]) or before.get(name)
        unknown += [name] * (said is None or said == "not said")
        shown = (said or "not installed").replace("|", "\\|")
        rows.append(f"| {name} | {' or '.join(versions)} | {shown} |")
    return HEAD.format(beside=beside()) + "\n".join(rows) + "\n", unknown


def beside() -> str:
    """The rows on what is installed beside the environment, with vLLM's packages counted."""
    lists = sorted((ROOT / "heavyweight" / "servers").glob("vllm-*.txt"))
    counts = [len(PIN.findall(path.read_text(encoding="utf-8"))) for path in lists]
    told = {
        "packages": " or ".join(map(str, counts)),
        "lists": " or ".join(f"`{path.relative_to(ROOT).as_posix()}`" for path in lists),
    }
    return "\n".join(
        f"| {name} | {use.format(**told)} | {licence} |" for name, use, licence in BESIDE
    )


def main(arguments: list[str]) -> int:
    """Write the list, or hold it."""
    text, unknown = table()
    if unknown:
        print(f"found: no licence of {', '.join(unknown)}. Expected: packages as locked, that say"
              " theirs. Remedy: install requirements.lock; add to ELSEWHERE in .ci/licences.py"
              " what was read by hand.", file=sys.stderr)  # fmt: skip
        return 1
    if "--check" not in arguments:
        LIST.write_text(text, encoding="utf-8")
    elif not LIST.exists() or LIST.read_text(encoding="utf-8") != text:
        print("found: LICENSES.md is not that of requirements.lock. Remedy: make licences",
              file=sys.stderr)  # fmt: skip
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
