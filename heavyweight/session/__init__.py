"""Sessions: one arm in one block, from the start of its server to its verified stop."""

from heavyweight.session.base import ServerSession
from heavyweight.session.loads import Session

__all__ = ["ServerSession", "Session"]
