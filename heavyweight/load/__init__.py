"""One streamed request -> timestamps; a closed loop of users -> one cell of rows.

The load generator is a process of its own (``python -m heavyweight.load SPEC.json``);
:func:`measure` starts it from a notebook's kernel.
"""

from heavyweight.load.first import FirstToken, first_token
from heavyweight.load.launch import measure
from heavyweight.load.spec import LoadSpec, Timeouts

__all__ = ["FirstToken", "LoadSpec", "Timeouts", "first_token", "measure"]
