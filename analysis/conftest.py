"""An analysis whose reference run was not measured yet has no outputs that it could be held to.

tests/test_project.py names the experiments that are still to be measured.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
EXPERIMENTS = ("coldstart", "parallel", "openloop", "mechanisms", "memory", "lengths")

collect_ignore = [
    f"{name}.ipynb"
    for name in EXPERIMENTS
    if not (HERE.parent / "data" / f"reference-{name}" / "run.json").exists()
]
