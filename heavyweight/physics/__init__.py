"""What hardware and queues allow at most: bytes, steps a second, users that fit, slots.

Nothing here is measured. A bound that a published number exceeds refutes it; a bound that it
keeps says nothing for it.
"""

from heavyweight.physics.bounds import (
    PRECISIONS,
    Bound,
    bound,
    flop_per_s,
    gb,
    gib,
    kv_bytes_per_token,
    kv_tokens_that_fit,
    memory_bytes,
    prefill_s_at_least,
    read_bytes_per_step,
    step_bytes,
    steps_per_s_at_most,
    users_that_fit,
    weights_bytes,
)
from heavyweight.physics.hardware import Gpu, Hardware, load_hardware
from heavyweight.physics.models import (
    Architecture,
    Models,
    count_parameters,
    load_models,
    read_config,
)
from heavyweight.physics.queueing import (
    in_flight,
    output_tokens_at_most,
    slots_for_wait,
    slots_needed,
    wait_s,
)

__all__ = [
    "PRECISIONS", "Architecture", "Bound", "Gpu", "Hardware", "Models", "bound",
    "count_parameters", "flop_per_s", "gb", "gib", "in_flight", "kv_bytes_per_token",
    "kv_tokens_that_fit", "load_hardware", "load_models", "memory_bytes",
    "output_tokens_at_most", "prefill_s_at_least", "read_bytes_per_step", "read_config",
    "slots_for_wait", "slots_needed", "step_bytes", "steps_per_s_at_most", "users_that_fit",
    "wait_s", "weights_bytes",
]  # fmt: skip
