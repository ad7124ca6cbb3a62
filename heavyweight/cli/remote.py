"""What a study asks of servers on other machines at most: told before it begins."""

from __future__ import annotations

from heavyweight.design import PlannedSession
from heavyweight.job import Job, elsewhere
from heavyweight.load.spec import Timeouts


def told(job: Job) -> list[str]:
    """The rate and the bound of what is left of a study, a line for each server elsewhere.

    Args:
        job: the study.
    """
    lines = []
    for arm, host in elsewhere(job.study, job.profile, job.extra).items():
        left = [one for one in job.left() if isinstance(one, PlannedSession) and one.arm == arm]
        if left:
            lines.append(f"The load of {arm} goes to another machine, {host}: {_bound(left, job)}.")
    return lines


def _bound(left: list[PlannedSession], job: Job) -> str:
    profile = job.profile
    loads = [load for session in left for load in session.loads]
    users = max((load.users for load in loads), default=1)
    times = (
        f"{len(loads)} load{'s' * (len(loads) > 1)} in {len(left)} session{'s' * (len(left) > 1)}"
    )
    lengths = profile.lengths or [(0, profile.output_tokens)]
    asked = max(answered for _, answered in lengths)
    parts = [
        f"at most {users} request{'s' * (users > 1)} at once, in {times}",
        f"each with made-up words, and at most {asked} tokens asked in answer",
        f"a load sends nothing after {profile.cap_seconds:.0f} s, all of it is over"
        f" {Timeouts().total_s:.0f} s later",
        "no key is sent",
    ]
    if rates := sum(session.rates for session in left):
        parts.insert(1, f"then {rates} open loops at rates that follow from what it can do")
    return "; ".join(parts)
