"""How many blocks a wanted width needs: the part of ``study plan`` that looks at a pilot."""

from __future__ import annotations

import math
from typing import Any

from heavyweight.cli.output import console, table
from heavyweight.cli.runs import all_runs
from heavyweight.design import Profile, Study
from heavyweight.errors import BadInput
from heavyweight.store import RunFolder

PILOT_BLOCKS = 2
MOST_BLOCKS = 100  # from here on nobody measures


def relative(text: str) -> float:
    """A width as a user writes it: ``5%`` or ``0.05``.

    Raises:
        BadInput: it is no number, or not between 0 and 1.
    """
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise BadInput(
            f"width {text!r}",
            "half of an interval, relative: 5% or 0.05, for ratio / 1.05 to ratio x 1.05",
            "give a number above 0 and below 100%",
        )
    return value


def pilot(study: Study, profile: Profile, name: str) -> RunFolder:
    """The run whose spread is taken: the one that is named, or the newest that fits the profile.

    One that is not named fits with both arms of a contrast, two blocks, and the profile's model and
    length of answers.

    Raises:
        BadInput: no run fits.
    """
    from heavyweight.cli.runs import find_run

    if name:
        return find_run(name)
    wanted = [set(pair) for pair in profile.contrasts.values()]
    emulated = all(study.arms[arm].emulated for arm in profile.arms)
    for folder in reversed(all_runs()):
        run = folder.run
        fits = any(pair <= set(run.arms) for pair in wanted)
        enough = run.blocks >= PILOT_BLOCKS and run.emulated == emulated and not run.imported
        if fits and enough and _alike(folder, profile):
            return folder
    raise BadInput(
        f"no run here has both arms of a contrast of profile {profile.name}, two blocks, its model "
        "and its length of answers",
        "a pilot, from whose spread the number of blocks follows",
        f"name another run with --pilot, or `heavyweight study run --profile {profile.name} "
        "--blocks 2` and plan again",
    )


def _alike(folder: RunFolder, profile: Profile) -> bool:
    """Whether a run has cells, all with the profile's model and length of answers."""
    cells = [file.cell for session in folder.sessions() for file in session.cells()]
    return bool(cells) and all(
        (cell.model, cell.output_tokens) == (profile.model, profile.output_tokens) for cell in cells
    )


def blocks_for(
    study: Study, profile: Profile, half_width: float, pilot_name: str
) -> dict[str, Any]:
    """Blocks that each ratio of a profile needs.

    Args:
        study: knows the profile's arms.
        profile: that is planned.
        half_width: wanted, relative.
        pilot_name: a run; empty: the newest that fits.

    Returns:
        pilot, half_width, ratios (one row a contrast and load), blocks (the most of them that are
        known) and blocks_cautious (None where no ratio could tell), unknown (contrasts and loads of
        the profile of which the pilot tells nothing).
    """
    import pandas as pd  # not above: the command starts sooner without it

    from heavyweight.estimates import assess, precision_table

    folder = pilot(study, profile, pilot_name)
    assessment = assess(folder)
    found = []
    for name, pair in assessment.run.contrasts.items():
        if tuple(pair) in {tuple(planned) for planned in profile.contrasts.values()}:
            rows = precision_table(assessment, name, half_width)
            found.append(rows[rows["users"].isin(profile.users)].assign(contrast=name))
    rows = pd.concat(found) if found else precision_table(assessment, None, half_width)
    rows = rows.astype(object).where(rows.notna(), None)
    told = {(r["contrast"], r["users"]) for r in rows.to_dict("records") if r["blocks_needed"]}
    unknown = [
        f"{name} at {users}"
        for name in profile.contrasts
        for users in profile.users
        if (name, users) not in told
    ]
    most = {
        column: max((int(n) for n in rows[column] if n is not None), default=None)
        for column in ("blocks_needed", "blocks_cautious")
    }
    return {
        "pilot": folder.run.run,
        "half_width": half_width,
        "ratios": rows.to_dict("records"),
        "blocks": most["blocks_needed"],
        "blocks_cautious": most["blocks_cautious"],
        "unknown": unknown,
    }


def print_blocks(found: dict[str, Any], profile: Profile, minutes_a_block: float) -> None:
    """The blocks that each ratio needs, and the time that the largest number takes."""
    width = found["half_width"]
    head = [
        "contrast", "users", "blocks there", "ratio", "interval now", "spread of blocks",
        "blocks needed", "cautious", "note",
    ]  # fmt: skip
    table(
        head,
        [
            [r["contrast"], r["users"], r["blocks"], _shown(r["ratio"], "{:.3g}"),
             _shown(r["half_width"], "+-{:.1%}"), _shown(r["sd_log"], "{:.1%}"),
             r["blocks_needed"], r["blocks_cautious"], r["note"]]
            for r in found["ratios"]
        ],
        f"Blocks for an interval of +-{100 * width:.3g}% of the ratio of tok/s "
        f"(pilot: {found['pilot']})",
    )  # fmt: skip
    if found["blocks"] is None:
        console.print("The pilot does not tell: no load has two blocks with both servers.")
        return
    if found["unknown"]:
        console.print(f"Of these the pilot tells nothing: {', '.join(found['unknown'])} users.")
    hours = found["blocks"] * minutes_a_block / 60
    console.print(
        f"{found['blocks']} blocks for the loads above, about {hours:.1f} hours; "
        f"{found['blocks_cautious']} if the spread is as large as so small a pilot allows (80%). "
        + (
            f"heavyweight study run --profile {profile.name} --blocks {found['blocks']}"
            if found["blocks"] < MOST_BLOCKS
            else "So many are no study: wish for a wider interval."
        ),
        markup=False,
    )


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
