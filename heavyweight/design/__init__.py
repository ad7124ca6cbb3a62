"""study.toml -> a validated plan: arms, loads, blocks in random order."""

from heavyweight.design.arms import QUANTISED, Arm, Emulate, Model
from heavyweight.design.plan import (
    Load,
    PlannedCalibration,
    PlannedSession,
    Step,
    load_order,
    loads,
    plan,
    session_name,
    stream,
)
from heavyweight.design.study import (
    Calibration,
    Open,
    Profile,
    Same,
    Study,
    did_you_mean,
    load_study,
)

__all__ = [
    "QUANTISED", "Arm", "Calibration", "Emulate", "Load", "Model", "Open",
    "PlannedCalibration", "PlannedSession", "Profile", "Same", "Step", "Study", "did_you_mean",
    "load_order", "load_study", "loads", "plan", "session_name", "stream",
]  # fmt: skip
