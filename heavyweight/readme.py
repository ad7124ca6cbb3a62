"""The README's figure and numbers: generated from the reference run, never typed."""

from __future__ import annotations

from pathlib import Path

from heavyweight import article, claims, figures, store, tables
from heavyweight.errors import BadInput
from heavyweight.estimates import assess, ratio_table, throughput_table
from heavyweight.kinds import EXPERIMENTS
from heavyweight.store import RunFolder
from heavyweight.together import together

BEGIN = "<!-- begin generated: heavyweight readme -->"
END = "<!-- end generated -->"
FIGURE = "headline.png"


def block(run: RunFolder, folder: str) -> str:
    """What stands between the README's marks.

    Args:
        run: the reference run.
        folder: its folder as the README names it.

    Raises:
        BadInput: the run compares nothing.
    """
    assessment = assess(run)
    contrast = tables.first_contrast(assessment)
    if contrast is None:
        raise BadInput(f"run {run.run.run} has no contrast", "two arms that were planned together")
    arms = assessment.run.contrasts[contrast]
    speeds = throughput_table(assessment).set_index(["arm", "users"])
    lines = [
        f"| users | {' | '.join(f'{assessment.label(arm)}, tok/s' for arm in arms)} | ratio |",
        "|---|---|---|---|",
    ]
    for row in ratio_table(assessment, contrast).to_dict("records"):
        found = [speeds.loc[(arm, row["users"])] for arm in arms]
        cells = [tables.interval(one.tok_s, one.low, one.high) for one in found]
        cells.append(tables.interval(row["ratio"], row["low"], row["high"]))
        lines.append(f"| {row['users']} | {' | '.join(cells)} |")
    provenance = figures.Provenance.of(run)
    notes = tables.invalid(assessment)
    verdicts = claims.judge_runs(list(map(assess, together(run))), claims.Evidence.of())
    return "\n".join(
        [
            BEGIN,
            f"![Tokens a second of {assessment.label(arms[0])} as a multiple of those of "
            f"{assessment.label(arms[1])}, by users, with 95% intervals]({folder}/{FIGURE})",
            "",
            *lines,
            "",
            "Total tokens a second over all users, in brackets the 95% interval over blocks. "
            + " ".join(provenance.footer())
            + (f" {notes}" if notes else ""),
            "",
            tables.verdicts(claims.counts(verdicts)),
            "",
            *experiments(run.path),
            "Another machine, above all one with a GPU, gives other numbers: measure yours.",
            END,
        ]
    )


def experiments(reference: Path) -> list[str]:
    """What the experiments found whose runs lie beside the reference run; lines of the README.

    Args:
        reference: its folder; the run of an experiment has the experiment's name after its own.
    """
    lines = []
    for name in EXPERIMENTS:
        folder = reference.with_name(f"{reference.name}-{name}")
        if (folder / store.RUN_FILE).exists():
            run = RunFolder.open(folder)
            machine = figures.Provenance.of(run).machine
            lines.append(f"- `{name}` ({machine}): {' '.join(tables.findings(assess(run)))}")
    return ["What the experiments found:", "", *lines, ""] if lines else []


def update(readme: Path, run: RunFolder) -> None:
    """Write the figure beside the run, and the block into the README.

    Raises:
        BadInput: the README has lost its marks.
    """
    text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise BadInput(
            f"{readme.name} has no marks", f"the lines {BEGIN} and {END}", "restore them"
        )
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    folder = run.path.relative_to(readme.parent).as_posix()
    readme.write_text(head + block(run, folder) + tail, encoding="utf-8")
    assessment = assess(run)
    ratios = {name: ratio_table(assessment, name) for name in assessment.run.contrasts}
    figure = figures.ratio(
        ratios, assessment.run.contrasts, figures.Provenance.of(run), article.load_article()
    )
    (run.path / FIGURE).write_bytes(figure.png(dpi=110))
