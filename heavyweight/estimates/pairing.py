"""Two arms at one load, paired by block: which blocks have both, and why the others do not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from heavyweight.estimates.assessment import Assessment
from heavyweight.estimates.blocks import Blocks, Load, by_block, notes, say
from heavyweight.stats import Estimate, log_ratio_t


@dataclass(frozen=True)
class Pairing:
    """One statistic of two arms, block by block.

    Args:
        numerator: block -> value of the first arm, of the blocks that both have.
        denominator: the same of the second arm.
        left_out: block -> why it cannot be paired.
        restarted: blocks of a session that needed a second start.
        spoiled: blocks in which an arm did not do its work, so that they are no fair loss.
    """

    numerator: dict[int, float] = field(default_factory=dict)
    denominator: dict[int, float] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    restarted: set[int] = field(default_factory=set)
    spoiled: set[int] = field(default_factory=set)

    def ratio(self, confidence: float = 0.95, without: set[int] | None = None) -> Estimate | None:
        """The ratio with Student's t over blocks on the log scale; None where no block is left.

        Args:
            confidence: of the interval.
            without: blocks that do not count.
        """
        blocks = [block for block in self.numerator if block not in (without or ())]
        if not blocks:
            return None
        above, below = (
            {block: side[block] for block in blocks} for side in (self.numerator, self.denominator)
        )
        return log_ratio_t(above, below, confidence)

    def without(self, blocks: Collection[int]) -> Pairing:
        """The same without some blocks."""
        above, below = (
            {block: value for block, value in side.items() if block not in blocks}
            for side in (self.numerator, self.denominator)
        )
        return replace(self, numerator=above, denominator=below)

    @property
    def note(self) -> str:
        """Which blocks were left out, and why; empty if none was."""
        return say(self.left_out)


def pair(assessment: Assessment, arms: Sequence[str], load: Load, quantity: str) -> Pairing:
    """Pair a column of the cells of two arms at one load.

    Args:
        assessment: the run.
        arms: numerator, denominator.
        load: users, output tokens, prompt tokens.
        quantity: a column of the assessment's cells.
    """
    return paired(arms, [by_block(assessment, arm, load, quantity) for arm in arms])


def paired(arms: Sequence[str], sides: Sequence[Blocks]) -> Pairing:
    """Pair two statistics that are there block by block; a pair lies on one machine.

    Args:
        arms: how the two are called.
        sides: numerator, denominator.
    """
    first, second = sides
    left_out: dict[int, str] = {}
    for arm, side in zip(arms, sides, strict=True):
        for block, reason in side.left_out.items():
            left_out[block] = notes(left_out.get(block, ""), f"{arm} {reason}")
    for block in first.values.keys() ^ second.values.keys():
        left_out.setdefault(block, f"not in {arms[int(block in first.values)]}")
    both = first.values.keys() & second.values.keys()
    for block in both:
        if first.machines[block] != second.machines[block]:
            left_out[block] = "on two machines"
    common = sorted(both - left_out.keys())
    return Pairing(
        numerator={block: first.values[block] for block in common},
        denominator={block: second.values[block] for block in common},
        left_out=left_out,
        restarted=(first.restarted | second.restarted) & set(common),
        spoiled=first.spoiled | second.spoiled,
    )
