"""What an experiment found, in sentences with their intervals: where its reader begins."""

from __future__ import annotations

from collections.abc import Callable

from heavyweight.estimates import (
    Assessment,
    cold_ratio_table,
    cold_starts,
    coldstart_table,
    fairest_table,
    gain_table,
    goodput_ratio_table,
    lengths_table,
    memory_frame,
    memory_ratio_table,
    memory_slots_table,
    moves_table,
    objective_at_one_user,
    probes_over_blocks,
    rates_table,
    search_table,
)
from heavyweight.estimates.fairest import BEST
from heavyweight.estimates.frames import WARM
from heavyweight.estimates.openloop import fractions
from heavyweight.physics import load_models
from heavyweight.tables.memory import COUNTS, mb
from heavyweight.tables.words import contrast_label, first_contrast, interval, number, times
from heavyweight.text import count_of

FIRST = "first_token_ms"
FIRST_TEXT = "ttft_p95_ms"


def findings(assessment: Assessment) -> list[str]:
    """What the run's experiment found.

    Returns:
        A sentence each; none of a study of users alone, whose answers are its ratios, and none
        where nothing was measured that it could be said of.
    """
    found = _OF.get(assessment.run.experiment)
    return [] if found is None else found(assessment)


def _coldstart(assessment: Assessment) -> list[str]:
    """Restart to the first token, of each contrast."""
    run, starts = assessment.run, cold_starts(assessment.folder)
    ratios, table = cold_ratio_table(starts, run), coldstart_table(starts, run)
    warm = ratios[(ratios["condition"] == WARM) & (ratios["quantity"] == FIRST)]
    seconds = table[(table["condition"] == WARM) & (table["quantity"] == FIRST)]
    shown = {
        r.label: interval(r.value_ms / 1e3, r.low_ms / 1e3, r.high_ms / 1e3)
        for r in seconds.itertuples()
    }
    return [
        f"From a restart to the first token, all caches warm, {r.numerator} takes "
        f"{times(r.ratio, r.low, r.high, r.blocks)} as long as {r.denominator}: "
        f"{shown[r.numerator]} s against {shown[r.denominator]} s."
        for r in warm[warm["contrast"].isin(list(run.contrasts))]
        .dropna(subset="ratio")
        .itertuples()
    ]


def _parallel(assessment: Assessment) -> list[str]:
    """The most slots against the fewest, and the other server against the best of them."""
    sentences = []
    gains = gain_table(assessment).dropna(subset="gain")
    for _, family in gains.groupby("family", sort=False):
        at_most = family[family["users"] == family["users"].max()]
        r = next(at_most.sort_values("slots", ascending=False).itertuples())
        sentences.append(
            f"{r.label} gives {times(r.gain, r.low, r.high, r.blocks)} the tokens a second "
            f"of {assessment.label(r.family)}, at {count_of(r.users, 'user')}."
        )
    contrast = first_contrast(assessment)
    if contrast is None:
        return sentences
    best = fairest_table(assessment, contrast)
    best = best[best["arm"] == BEST].dropna(subset="ratio")
    label = assessment.label(assessment.run.contrasts[contrast][0])
    sentences += [
        f"Against the best of the other server's configurations ({r.chosen}), {label} gives "
        f"{times(r.ratio, r.low, r.high, r.blocks)} the tokens a second, "
        f"at {count_of(r.users, 'user')}."
        for r in best[best["users"] == best["users"].max()].itertuples()
    ]
    return sentences


def _openloop(assessment: Assessment) -> list[str]:
    """The ratio of the highest goodputs, and the highest rates that held."""
    objective = objective_at_one_user(assessment, percent=95)
    ratios = goodput_ratio_table(assessment, objective).dropna(subset="ratio")
    sentences = [
        f"Of requests that come by themselves, {assessment.label(r.numerator)} answers "
        f"{times(r.ratio, r.low, r.high, r.blocks)} as many a second in good time as "
        f"{assessment.label(r.denominator)} ({objective})."
        for r in ratios.itertuples()
    ]
    below = [share for share in fractions(assessment) if share < 1]
    table = rates_table(assessment)
    table = table[table["fraction"] == max(below, default=0)].set_index(["label", "quantity"])
    waits = [
        f"{label} {interval(*table.loc[(label, FIRST_TEXT), ['value', 'low', 'high']])} ms at "
        f"{number(table.loc[(label, 'rate_per_s'), 'value'])} requests/s"
        for label in dict.fromkeys(table.index.get_level_values("label"))
    ]
    if waits:
        sentences.append(
            f"At {max(below):g} of its capacity the p95 of the time to first text is: "
            f"{', '.join(waits)} ({_blocks(table['blocks'].min())})."
        )
    found = search_table(assessment.folder, assessment)
    found = found[found["scope"] == "blocks"].dropna(subset="per_s")
    rates = [f"{r.label} {interval(r.per_s, r.low, r.high)}" for r in found.itertuples()]
    if rates:
        sentences.append(
            f"The highest rate at which the search's objectives held: {', '.join(rates)} requests "
            "a second."
        )
    return sentences


def _mechanisms(assessment: Assessment) -> list[str]:
    """Who lets a second request wait, and what a joining request costs the others."""
    over = probes_over_blocks(assessment.folder)
    sentences = []
    second = over[over["probe"] == "overlap"]
    for answer, words in (("yes", "waits for the first"), ("no", "is worked on at once")):
        labels = list(second.loc[second["answer"] == answer, "label"])
        if labels:
            sentences.append(f"A second request {words}: {', '.join(labels)}.")
    joining = over[over["probe"] == "joining"].dropna(subset="value")
    steps = [f"{r.label} {interval(r.value, r.low, r.high)}" for r in joining.itertuples()]
    if steps:
        sentences.append(
            f"While another request runs beside it, a stream's steps are so many times as long: "
            f"{', '.join(steps)} ({_blocks(joining['blocks'].max())})."
        )
    return sentences


def _memory(assessment: Assessment) -> list[str]:
    """One server's peak against the other's, and what a slot costs."""
    frame = memory_frame(assessment.folder, assessment)
    ratios = memory_ratio_table(assessment, frame).dropna(subset="ratio")
    at_most = ratios[ratios["users"] == ratios["users"].max()]
    sentences = [
        f"At its peak, at {count_of(r.users, 'user')}, {assessment.label(r.numerator)} takes "
        f"{times(r.ratio, r.low, r.high, r.blocks)} the {COUNTS[r.quantity]} of "
        f"{assessment.label(r.denominator)}."
        for r in at_most.drop_duplicates("contrast").itertuples()
    ]
    slots = memory_slots_table(assessment, frame, load_models()).dropna(subset="slot_bytes")
    at_most = slots[slots["users"] == slots["users"].max()]
    sentences += [
        f"Each slot more costs Ollama {mb(r.slot_bytes, r.slot_low, r.slot_high)} MB "
        f"({assessment.label(r.numerator)} against {assessment.label(r.denominator)}, "
        f"{_blocks(r.blocks)}); the KV cache of its context is {number(r.slot_kv_bytes / 1e6)} MB."
        for r in at_most.drop_duplicates("numerator").itertuples()
    ]
    return sentences


def _lengths(assessment: Assessment) -> list[str]:
    """Where the ratio of throughputs is largest and smallest, and what moves it."""
    contrast = first_contrast(assessment)
    if contrast is None:
        return []
    ratios = lengths_table(assessment, contrast)
    speeds = ratios[ratios["quantity"] == "throughput_tok_s"].dropna(subset=["ratio", "users"])
    if len(speeds) < 2:
        return []
    ends = [speeds.loc[speeds["ratio"].idxmax()], speeds.loc[speeds["ratio"].idxmin()]]
    told = [
        f"{times(r['ratio'], r['low'], r['high'], r['blocks'])} with prompts of "
        f"{r['prompt_tokens']} and answers of {r['output_tokens']} tokens"
        for r in ends
    ]
    sentences = [
        f"Tokens a second, {contrast_label(assessment, contrast)}, at "
        f"{count_of(ends[0]['users'], 'user')}: from {told[1]} to {told[0]}."
    ]
    moves = moves_table(assessment, contrast, ["throughput_tok_s"]).dropna(subset="low")
    words = {"prompt_tokens": "prompt", "output_tokens": "answer"}
    sentences += [
        f"With each doubling of the {words[r.term]} that ratio changes by a factor of "
        f"{interval(r.factor, r.low, r.high)}{'' if r.moves else ', not told from no change'}."
        for r in moves.itertuples()
    ]
    return sentences


def _blocks(count: int) -> str:
    return f"{count} blocks" if count != 1 else "1 block: no interval"


_OF: dict[str, Callable[[Assessment], list[str]]] = {
    "coldstart": _coldstart,
    "parallel": _parallel,
    "openloop": _openloop,
    "mechanisms": _mechanisms,
    "memory": _memory,
    "lengths": _lengths,
}
