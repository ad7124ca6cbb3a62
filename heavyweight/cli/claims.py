"""heavyweight claims: the article's claims, each with its verdict."""

from __future__ import annotations

from typing import Annotated

import typer

from heavyweight.cli.output import AsJson, console, emit, table
from heavyweight.errors import BadInput
from heavyweight.store import RunFolder

Runs = Annotated[
    list[str] | None,
    typer.Argument(
        help="A run's name or folder, read with the experiments beside it; several: only these; "
        "'none': only what needs no machine."
    ),
]


def claims(
    runs: Runs = None,
    verdict: Annotated[str, typer.Option(help="Only reproduced, refuted or inconclusive.")] = "",
    kind: Annotated[str, typer.Option(help="Only claims with a rule of this kind.")] = "",
    claim: Annotated[str, typer.Option("--id", help="One claim, with all that it rests on.")] = "",
    as_json: AsJson = False,
) -> None:
    """Judge the article's claims by the runs of a study, by rules that are older than the data."""
    from heavyweight.claims import ANSWERS, Evidence, counts, judge_runs, verdict_table
    from heavyweight.estimates import assess
    from heavyweight.figures import Provenance

    evidence = Evidence.of()
    _known("verdict", verdict, list(ANSWERS))
    _known("kind", kind, list(evidence.ledger.kinds))
    _known("claim", claim, list(evidence.ledger.by_id))
    folders = _folders(runs or ["reference"])
    verdicts = judge_runs(list(map(assess, folders)), evidence)
    tally = counts(verdicts)
    setting = Provenance.of(folders[0]).footer() if folders else []
    if len(folders) > 1:
        beside = ((folder.run.run, Provenance.of(folder).machine) for folder in folders[1:])
        setting.append(f"Beside it: {'; '.join(f'{run} on {where}' for run, where in beside)}.")
    chosen = [
        v
        for v in verdicts
        if verdict in ("", v.answer) and kind in ("", *v.claim.kinds) and claim in ("", v.claim.id)
    ]
    if not chosen and claim:
        is_now = next(v for v in verdicts if v.claim.id == claim)
        raise BadInput(
            f"claim {claim} is {is_now.answer}, of kind {', '.join(is_now.claim.kinds)}",
            "--verdict and --kind that fit it",
            "leave them out with --id",
        )
    rows = verdict_table(chosen)
    if as_json:
        emit(
            {
                "runs": [folder.run.run for folder in folders],
                "setting": setting,
                "counts": tally.to_dict("index"),
                "claims": rows.to_dict("records"),
            }
        )
        return
    if claim:
        for line in _whole(chosen[0]):
            console.print(line, markup=False)
    else:
        table(
            ["id", "verdict", "after Holm", "claim", "published", "why", "what would judge it"],
            [
                [r["id"], r["verdict"], "" if r["after_holm"] == r["verdict"] else r["after_holm"],
                 r["claim"], r["published"], r["why"], r["judged_by"]]
                for r in rows.to_dict("records")
            ],
        )  # fmt: skip
    total = tally.loc["all"]
    console.print(
        f"{total['claims']} claims: {total['reproduced']} reproduced, {total['refuted']} refuted, "
        f"{total['inconclusive']} inconclusive; {total['by_run']} are decided by measurements, "
        f"of which {total['undone_by_holm']} are open after Holm's correction."
    )
    for line in setting or ["No run: only arithmetic and documents were judged."]:
        console.print(line, markup=False)


def _folders(names: list[str]) -> list[RunFolder]:
    """The runs that are read: one with those beside it, or exactly those that were named."""
    from heavyweight.cli.runs import find_run
    from heavyweight.together import together

    if names == ["none"]:
        return []
    return together(find_run(names[0])) if len(names) == 1 else list(map(find_run, names))


def _known(what: str, name: str, known: list[str]) -> None:
    """Refuse a filter that would show nothing for ever."""
    if name and name not in known:
        raise BadInput(f"no {what} {name!r}", f"one of {', '.join(known)}", "mend the name")


def _whole(verdict: object) -> list[str]:
    """One claim with every part, its rule's version and what it was before."""
    from heavyweight.claims import Verdict
    from heavyweight.claims.table import published, widened

    assert isinstance(verdict, Verdict)
    age = {True: ", older than the data", False: ", YOUNGER than the data", None: ""}
    lines = [
        f"{verdict.claim.id}: {verdict.claim.claim} ({verdict.claim.place})",
        f"published: {published(verdict.claim)}; quantity: {verdict.claim.quantity}",
        f"rules: version {verdict.version} of {verdict.rule_date}{age[verdict.older_than_data]}",
    ]
    for part in verdict.parts:
        p = f" [p {part.p:.2g}, after Holm {part.p_adjusted:.2g}]" if part.p == part.p else ""
        beside = "" if part.counts else " (beside; decides nothing)"
        lines.append(f"  {part.kind}, {part.by}: {part.answer}{beside}. {part.why}{p}")
    for up_to, reason, answer in verdict.earlier:
        lines.append(f"  by the rules up to version {up_to}: {answer} ({reason})")
    wide = widened(verdict)
    lines.append(f"verdict: {verdict.answer}; after Holm: {verdict.adjusted}")
    if wide:
        lines.append(f"intervals after Holm: {wide}")
    if verdict.judged_by:
        lines.append(f"what would judge it: {verdict.judged_by}")
    return lines
