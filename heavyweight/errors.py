"""One exception tree. A message says what was found, what was expected and the remedy.

::

    StudyError                 exit code 2 at the command line, never a traceback
    ├── BadInput               a file, name or parameter of the user's
    ├── NotInstalled           a server, compiler or model is missing
    ├── InstallFailed          an installation step ended badly
    ├── ServerError            a server did not start, answer, identify itself or stop
    │   ├── PortTaken
    │   └── NotReady           its last log lines are in the message
    ├── StoreError             a run folder or file is missing, cut off, or of another schema
    ├── SessionBusy            another session holds the machine
    └── Stopped                the user asked to stop; what was finished is kept
"""

from __future__ import annotations


class StudyError(Exception):
    """Base of all errors that are told to the user in one message.

    Args:
        found: what was found.
        expected: what was expected instead.
        remedy: what the user can do about it.
    """

    def __init__(self, found: str, expected: str = "", remedy: str = "") -> None:
        self.found, self.expected, self.remedy = found, expected, remedy
        parts = [found.rstrip(".")]
        if expected:
            parts.append(f"Expected: {expected.rstrip('.')}")
        if remedy:
            parts.append(f"Remedy: {remedy.rstrip('.')}")
        super().__init__(". ".join(parts) + ".")


class BadInput(StudyError):
    """A file, name or parameter of the user's cannot be used."""


class NotInstalled(StudyError):
    """A server, compiler or model artefact is missing."""


class InstallFailed(StudyError):
    """An installation step ended badly."""


class ServerError(StudyError):
    """A server did not start, answer, identify itself or stop."""


class PortTaken(ServerError):
    """Somebody else answers on the port."""


class NotReady(ServerError):
    """A server did not get ready in time, or died before."""


class StoreError(StudyError):
    """A run folder or file is missing, cut off, or of another schema."""


class SessionBusy(StudyError):
    """Another session holds the machine."""


class Stopped(StudyError):
    """The user asked to stop; what was finished is kept."""


def by_name() -> dict[str, type[StudyError]]:
    """All of them: what one process says of an error, another one raises."""
    kinds = [StudyError]
    for kind in kinds:  # it grows while it is gone through
        kinds += kind.__subclasses__()
    return {kind.__name__: kind for kind in kinds}
