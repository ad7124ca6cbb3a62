"""Fetch files of a Hugging Face repository; run by the Python of vLLM's environment.

huggingface_hub lives there only, so this file imports nothing of the study. Not run here: there is
no way to huggingface.co.

Usage: python fetch_hugging_face.py REPO REVISION FOLDER OUTCOME PATTERN...
"""

import json
import os
import shutil
import sys
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError


def fetch(repo: str, revision: str, folder: Path, patterns: list[str]) -> str:
    """Fetch the files that fit the patterns at a revision, "" for the newest; returns it."""
    # False: without a token, rather than with one that was stored on this machine some day.
    token = os.environ.get("HF_TOKEN") or False
    revision = str(HfApi(token=token).model_info(repo, revision=revision or None).sha)
    snapshot_download(
        repo, revision=revision, allow_patterns=patterns, local_dir=folder, token=token
    )
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the downloader's own notes
    return revision


def closed(error: HfHubHTTPError) -> bool:
    """Whether the repository is there and does not open to this token."""
    if isinstance(error, GatedRepoError):
        return True
    # A repository that is not there answers 401 as well.
    absent = isinstance(error, RepositoryNotFoundError)
    return not absent and error.response is not None and error.response.status_code in (401, 403)


def main() -> int:
    """Write the revision, or that the repository is gated, to OUTCOME."""
    repo, revision, folder, outcome, *patterns = sys.argv[1:]
    try:
        told = {"revision": fetch(repo, revision, Path(folder), patterns)}
    except HfHubHTTPError as error:
        print(error, file=sys.stderr)
        if closed(error):
            Path(outcome).write_text(json.dumps({"gated": repo}))
        return 1
    Path(outcome).write_text(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
