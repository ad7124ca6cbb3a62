"""A server against the best configuration of another, chosen without looking. Only VALID cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from heavyweight.errors import BadInput
from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import Blocks, by_block, loads, notes, tidy
from heavyweight.estimates.contrasts import contrast_table, ends
from heavyweight.estimates.frames import LOAD
from heavyweight.estimates.pairing import paired
from heavyweight.estimates.slots import slot_families
from heavyweight.stats import mean_log_t

COLUMNS = (
    "against", "arm", "label", *LOAD, "blocks", "ratio", "low", "high", "chosen", "note",
)  # fmt: skip
BEST = "best"


def fairest_table(
    assessment: Assessment,
    contrast: str,
    quantity: str = "throughput_tok_s",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """A contrast's first arm against the best configuration of the other's server.

    To take the best of many arms by the numbers that it is then judged by would flatter it, for
    the luckiest is the best as well. So the arm of each block is chosen by the other blocks (the
    largest geometric mean), and the ratio is taken in the block that had no say.

    Args:
        assessment: the run.
        contrast: of the run; its denominator says whose configurations are tried.
        quantity: a column of the assessment's cells, the larger the better.
        confidence: of Student's t intervals on the log scale.

    Returns:
        One row for each candidate and load, against it alone, and one for each load, with arm
        :data:`BEST`, against the one that the other blocks chose: against (the first arm), arm,
        label, users, output_tokens, prompt_tokens, blocks, ratio, low, high, chosen (arms and in
        how many blocks), note. One block chooses nothing.

    Raises:
        BadInput: the contrast or the quantity is unknown.
    """
    if contrast not in assessment.run.contrasts:
        known = ", ".join(assessment.run.contrasts) or "(none)"
        raise BadInput(f"no contrast {contrast!r}", f"one of {known}", "measure a profile of it")
    against, other = assessment.run.contrasts[contrast]
    candidates = _rivals(assessment, against, other)
    pairs = {arm: (against, arm) for arm in candidates}
    alone = contrast_table(assessment, pairs, (quantity,), confidence)
    told = zip(alone["note"], alone["blocks_left_out"], strict=True)
    alone = alone.assign(
        against=against,
        arm=alone["contrast"],
        label=alone["contrast"].map(assessment.label),
        chosen="",
        note=[notes(*parts) for parts in told],
    )
    rows = alone.to_dict("records")
    for load in loads(assessment):
        mine = by_block(assessment, against, load, quantity)
        theirs = {arm: by_block(assessment, arm, load, quantity) for arm in candidates}
        best, chosen = _best_by_others(theirs)
        both = paired((against, BEST), (mine, best))
        value, low, high, note = ends(both.ratio(confidence))
        rows.append(
            {"against": against, "arm": BEST, "label": "the best by the other blocks",
             **dict(zip(LOAD, load, strict=True)), "blocks": len(both.numerator), "ratio": value,
             "low": low, "high": high, "chosen": _counted(chosen, assessment),
             "note": notes(note, both.note)}
        )  # fmt: skip
    return tidy(rows, COLUMNS)


def _rivals(assessment: Assessment, against: str, other: str) -> list[str]:
    """Arms of the other arm's kind of server, but for the first arm, in the order of slots."""
    servers = assessment.sessions.drop_duplicates("arm").set_index("arm")["server"]
    families = slot_families(assessment).values()
    arms = list(dict.fromkeys([*(arm for one in families for arm in one), *assessment.arms]))
    return [a for a in arms if a != against and servers.get(a) == servers.get(other)] or [other]


def _best_by_others(found: Mapping[str, Blocks]) -> tuple[Blocks, Counter[str]]:
    """In each block the value of the arm that is best in all other blocks."""
    best, chosen = Blocks(), Counter[str]()
    for block in sorted({block for side in found.values() for block in side.values}):
        arm = _choice({arm: s.values for arm, s in found.items() if block in s.values}, block)
        if arm is None:
            best.left_out[block] = "no other block to choose by"
            continue
        chosen[arm] += 1
        best.values[block] = found[arm].values[block]
        best.machines[block] = found[arm].machines[block]
        if block in found[arm].restarted:
            best.restarted.add(block)
    return best, chosen


def _choice(found: Mapping[str, Mapping[int, float]], block: int) -> str | None:
    """The arm with the largest mean over the other blocks, of those that all have, if any."""
    others = {arm: values.keys() - {block} for arm, values in found.items()}
    others = {arm: blocks for arm, blocks in others.items() if blocks}
    if not others:
        return None
    common = set.intersection(*map(set, others.values()))
    means = {
        arm: mean_log_t([found[arm][b] for b in common or blocks]).value
        for arm, blocks in others.items()
    }
    return max(means, key=lambda arm: means[arm])


def _counted(chosen: Counter[str], assessment: Assessment) -> str:
    total = sum(chosen.values())
    return ", ".join(
        f"{assessment.label(arm)} ({count} of {total} blocks)"
        for arm, count in chosen.most_common()
    )
