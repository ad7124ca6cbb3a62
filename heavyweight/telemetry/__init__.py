"""What ran while a cell was measured: processes, machine, GPUs and the server's own numbers.

Two looks at the window's edges (:class:`Snapshot`, in the load generator), and a recording at
some samples per second (:mod:`heavyweight.telemetry.recorder`, in the notebook's kernel). The
recorder is not imported here: the load generator starts sooner without it.
"""

from heavyweight.telemetry.processes import cpu_s, process_group, rss_bytes
from heavyweight.telemetry.snapshot import Snapshot, between

__all__ = ["Snapshot", "between", "cpu_s", "process_group", "rss_bytes"]
