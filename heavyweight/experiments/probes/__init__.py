"""Questions that are put to a server, in the order in which they are put.

Memory comes first, since it is that of a server that was asked one thing; the other model is asked
for last, and after it come the probes that start a server of their own.
"""

from heavyweight.design import Arm
from heavyweight.experiments.probes.abandoned import ABANDONED
from heavyweight.experiments.probes.base import Mechanism, Observation, Prober, Value
from heavyweight.experiments.probes.batching import JOINING, RECYCLING
from heavyweight.experiments.probes.cache import PREFIX_CACHE
from heavyweight.experiments.probes.model import DTYPE, SWAP
from heavyweight.experiments.probes.network import OFFLINE
from heavyweight.experiments.probes.overlap import SAME_STEP, WAITING
from heavyweight.experiments.probes.queue import QUEUE_LOADING, QUEUE_RUNNING
from heavyweight.experiments.probes.start import MEMORY, PORTS

__all__ = ["MECHANISMS", "Mechanism", "Observation", "Prober", "Value", "mechanisms_for"]

MECHANISMS: tuple[Mechanism, ...] = (
    MEMORY, PORTS, DTYPE, WAITING, SAME_STEP, JOINING, PREFIX_CACHE, QUEUE_RUNNING, ABANDONED, SWAP,
    RECYCLING, QUEUE_LOADING, OFFLINE,
)  # fmt: skip


def mechanisms_for(arm: Arm) -> list[Mechanism]:
    """The questions that say something of an arm, in their order."""
    return [one for one in MECHANISMS if one.applies(arm)]
