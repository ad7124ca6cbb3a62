"""One streamed request -> timestamps; a loop of users or of arrivals -> one cell of rows.

The load generator is a process of its own (``python -m heavyweight.load SPEC.json``);
:func:`measure` starts it from a notebook's kernel.
"""

from heavyweight.load.alone import Answer, one_by_one
from heavyweight.load.first import first_token
from heavyweight.load.launch import OnProgress, measure
from heavyweight.load.spec import Arrivals, LoadSpec, Timeouts

__all__ = [
    "Answer", "Arrivals", "LoadSpec", "OnProgress", "Timeouts", "first_token", "measure",
    "one_by_one",
]  # fmt: skip
