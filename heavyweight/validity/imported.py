"""Which checks cannot be made of data that another tool measured, and why."""

from __future__ import annotations

import numpy as np

from heavyweight.validity.base import Evidence, Part

REMEDY = "measure again with the other tool, longer or otherwise, or with `heavyweight load`"
"""Of every check that fails: the remedies of this study are for its own measurements."""


def untold(e: Evidence) -> dict[str, Part]:
    """The checks that cannot be made, by name; none of data that this study measured."""
    if not e.cell.imported:
        return {}
    r, why = e.requests, {}
    good = ~r.failed
    if np.isnan(r.asked[good]).any():
        why["output tokens"] = "how many tokens were asked"
    if not all(r.prompt_id[good]):
        why["prompt tokens"] = "which prompts were sent"
    if np.isnan(r.done_ns[~np.isnan(r.sent_ns)]).any():
        why["bookkeeping"] = "when requests ended that failed"
    if np.isnan(r.due_ns).any():
        why["client"] = "when requests were due"
    if e.cell.machine_load is None:
        why["machine"] = "what else ran on the machine"
    if not e.session.starts:
        why["server"] = "what the server was and how it was started"
    why["instrument"] = "how large the client's own error was"
    return {
        name: Part(None, None, "", None, f"cannot be told: the file does not say {what}")
        for name, what in why.items()
    }
