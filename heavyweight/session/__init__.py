"""Sessions: one arm in one block, from the start of its server to its verified stop."""

from heavyweight.session.base import ServerSession
from heavyweight.session.loads import Session
from heavyweight.session.record import write_probe

__all__ = ["ServerSession", "Session", "write_probe"]
