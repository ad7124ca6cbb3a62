"""Runs and ledgers that cannot carry a verdict: a clear word, never a wrong number."""

from __future__ import annotations

import shutil

import pytest

from heavyweight.article import load_claims
from heavyweight.claims import Evidence, judge_runs
from heavyweight.claims.missing import Known
from heavyweight.errors import BadInput
from heavyweight.estimates import assess
from heavyweight.paths import study_root
from heavyweight.store import RunFolder, write_json
from tests.claims.runs import FOUR, TWO, pretend
from tests.synthetic import fail

ROOT = study_root()


@pytest.fixture(scope="module")
def evidence():
    return Evidence.of(ROOT)


@pytest.fixture
def verdicts(evidence, tmp_path):
    def judged(**options):
        run = pretend(tmp_path / "run", **options)
        return {v.claim.id: v for v in judge_runs([assess(run)], evidence)}

    return judged


def from_run(found):
    """The answers that rest on numbers of the run."""
    return {
        name: v.answer
        for name, v in found.items()
        if any(p.estimate is not None and p.counts and p.answer != "inconclusive" for p in v.parts)
    }


def test_one_block_decides_nothing(verdicts):
    found = verdicts(blocks=1, users=(1, 4, 8, 50))
    assert from_run(found) == {}
    assert "one block: no interval" in found["B4c"].why
    assert found["B4c"].judged_by == "heavyweight study run --profile quick"


@pytest.mark.parametrize(
    ("skip", "told"), [((), " --new"), ([(1, "vllm-bf16", 4)], "")], ids=["complete", "begun"]
)
def test_a_run_with_nothing_left_is_not_to_be_gone_on_with(evidence, tmp_path, skip, told):
    folder = pretend(tmp_path / "run", blocks=1, users=(1, 4, 8, 50), skip=skip)
    write_json(folder.path / "run.json", folder.run.model_copy(update={"profile": "quick"}))
    judged = judge_runs([assess(RunFolder.open(folder.path))], evidence)
    (found,) = (verdict for verdict in judged if verdict.claim.id == "B4c")
    assert found.judged_by == f"heavyweight study run --profile quick{told}"


def test_a_load_that_was_not_measured_is_named(verdicts):
    found = verdicts(users=(1, 4))
    assert found["B4c"].answer == "inconclusive"
    assert "50 users were not measured" in found["B4c"].why
    assert found["B1c"].parts[0].estimate is not None


def test_an_arm_that_was_not_measured_is_named(verdicts):
    found = verdicts(users=(1, 8))
    assert "ollama-q4-parallel is not in this run" in found["Q2a"].why
    assert found["Q2a"].judged_by == "heavyweight study run --profile parallel"


def test_a_run_without_a_single_good_cell_decides_nothing(verdicts):
    found = verdicts(
        users=(1, 50), edit=lambda cell, rows: (cell, [fail(row) for row in rows])
    )  # all requests failed
    assert set(from_run(found)) <= {"Sr"}  # servers were started, and said a word
    assert "INVALID" in found["B4c"].why


def test_an_arm_whose_requests_all_fail_is_no_zero(verdicts):
    def edit(cell, rows):
        return (cell, [fail(row) for row in rows]) if cell.arm == "ollama-q4" else (cell, rows)

    found = verdicts(users=(1, 50), edit=edit)
    assert found["B4c"].answer == "inconclusive"
    assert found["B4c"].parts[0].estimate is None


def test_a_block_whose_work_was_not_done_is_not_left_out(verdicts):
    """Three in a hundred fail in block 2: it is INVALID, and the others are the better ones."""

    def edit(cell, rows):
        if cell.arm == "vllm-bf16" and cell.block == 2 and cell.users == 50:
            rows = [fail(row) if n % 33 == 0 else row for n, row in enumerate(rows)]
        return cell, rows

    found = verdicts(users=(1, 4, 50), blocks=4, edit=edit)
    for claim in ("B4c", "L2r", "D1"):
        assert found[claim].answer == "inconclusive", claim
        assert "block 2" in found[claim].why, claim
    assert found["B1c"].answer != "inconclusive"  # nothing failed at one user


def test_a_block_that_the_machine_disturbed_is_left_out_and_said(verdicts):
    def edit(cell, rows):
        if cell.block == 2 and cell.users == 50:
            noisy = cell.machine_load.model_copy(update={"other_cpu_s": 1e3})
            cell = cell.model_copy(update={"machine_load": noisy})
        return cell, rows

    found = verdicts(users=(1, 50), blocks=4, edit=edit)
    assert found["B4c"].parts[0].estimate.n == 3
    assert "block 2" in found["B4c"].why
    assert found["B4c"].answer != "inconclusive"


def test_too_few_of_the_planned_blocks_are_no_sample(verdicts):
    skip = [(block, "vllm-bf16", 50) for block in (1, 2, 3, 4)]
    found = verdicts(users=(1, 50), blocks=6, skip=skip)
    assert found["B4c"].answer == "inconclusive"
    assert "only 2 of 6 planned blocks" in found["B4c"].why


def test_a_tail_that_failures_reach_is_not_left_out(verdicts):
    """The p99 of one block is infinite, as 2 of 100 requests fail there."""

    def edit(cell, rows):
        if cell.arm == "vllm-bf16" and cell.block == 2:
            rows = [fail(row) if n % 50 == 49 else row for n, row in enumerate(rows)]
        return cell, rows

    limits = {"errors_fraction": 0.5}
    found = verdicts(users=(50,), requests=400, edit=edit, limits=limits)
    for claim in ("L3r", "L4"):
        assert found[claim].answer == "inconclusive", claim
        assert "block 2" in found[claim].why, claim


def test_a_server_that_was_not_what_it_should_be_has_no_cold_start(verdicts):
    def edit_session(session):
        if not session.arm.startswith("vllm"):
            return session
        other = session.identity.model_copy(update={"version": None})
        return session.model_copy(update={"identity": other})

    found = verdicts(users=(1,), edit_session=edit_session)
    assert found["Sr"].answer == "inconclusive"
    assert "not what it should be" in found["Sr"].why


def test_blocks_of_two_machines_have_no_verdict_in_common(verdicts):
    def edit_session(session):
        name = "first" if session.block < 3 else "second"
        machine = session.machine.model_copy(update={"machine_id": name})
        return session.model_copy(update={"machine": machine})

    found = verdicts(users=(1, 50), blocks=4, edit_session=edit_session)
    assert from_run(found) == {}
    # The client was calibrated on neither, which is told first where it is asked first.
    assert "2 machines" in found["B4c"].why


def test_blocks_of_two_models_have_no_verdict_in_common(verdicts):
    def edit_session(session):
        return session.model_copy(update={"model": f"model-{session.block % 2}"})

    found = verdicts(users=(1, 50), edit_session=edit_session)
    assert from_run(found) == {}
    assert "differ in model" in found["B4c"].why


def test_memory_is_not_judged_by_the_hosts_where_there_is_a_gpu(evidence, tmp_path):
    run = pretend(tmp_path / "run", FOUR, users=(1, 8), gpu="NVIDIA A100")
    found = {v.claim.id: v for v in judge_runs([assess(run)], evidence)}
    assert found["Q2b"].answer == "inconclusive"
    assert "memory of the GPU" in found["Q2b"].why


def test_more_memory_must_be_more_than_starts_differ(evidence, tmp_path):
    """8 slots take 3% more, but starts of one configuration differ by 10%."""

    def edit(cell, rows):
        more = 1.03 if cell.arm == "ollama-q4-parallel" else 1.0
        bytes_ = round(1e9 * more * (1 + 0.1 * (cell.block % 2)))
        load = cell.machine_load.model_copy(update={"server_rss_bytes": bytes_})
        return cell.model_copy(update={"machine_load": load}), rows

    run = pretend(tmp_path / "run", FOUR, users=(1, 8), blocks=6, edit=edit)
    found = {v.claim.id: v for v in judge_runs([assess(run)], evidence)}["Q2b"]
    assert found.parts[0].estimate.value == pytest.approx(1.03)
    assert found.answer == "inconclusive"


def test_an_answer_that_rests_on_a_second_start_is_open(verdicts):
    """Block 4 alone makes the ratio uncertain enough, or certain enough."""

    def edit_session(session):
        again = [*session.starts, session.starts[0].model_copy(update={"start_id": 2})]
        late = session.block == 2 and session.arm == "vllm-bf16"
        return session.model_copy(update={"starts": again}) if late else session

    found = verdicts(users=(1, 50), blocks=4, edit_session=edit_session)
    assert "block 2 needed a second start" in found["B4c"].why


def test_a_load_that_was_added_by_hand_throws_no_block_out(evidence, tmp_path):
    skip = [(b, a.name, 64) for b in (2, 3, 4) for a in TWO]
    run = pretend(tmp_path / "run", users=(1, 4, 50, 64), blocks=4, skip=skip)
    part = {v.claim.id: v for v in judge_runs([assess(run)], evidence)}["D1"].parts[0]
    assert part.estimate.n == 4


def test_failures_that_reach_a_percentile_leave_no_block_out(verdicts):
    """One request in twelve fails in one block: its p95 is infinite, and so is no ratio."""

    def edit(cell, rows):
        if cell.arm == "vllm-bf16" and cell.block == 2 and cell.users == 50:
            rows = [fail(row) if n % 12 == 0 else row for n, row in enumerate(rows)]
        return cell, rows

    limits = {"errors_fraction": 0.5}
    found = verdicts(users=(1, 50), edit=edit, limits=limits)
    assert found["L2r"].answer == "inconclusive"
    assert "block 2" in found["L2r"].why


def test_a_single_request_is_too_few(verdicts):
    found = verdicts(users=(1,), edit=lambda cell, rows: (cell, rows[:1]))
    assert set(from_run(found)) <= {"Sr"}


def test_ties_have_an_interval_of_no_width_and_a_verdict(verdicts):
    found = verdicts(users=(1, 4, 8, 50), spread=0.0)
    part = found["B4c"].parts[0]
    assert part.estimate.low == pytest.approx(part.estimate.high, rel=0.05)
    assert found["B4c"].answer in ("reproduced", "refuted")


def test_an_empty_run_is_judged_as_no_run(evidence, tmp_path):
    skip = [(block, arm.name, 1) for block in (1, 2, 3) for arm in TWO]
    run = pretend(tmp_path / "run", users=(1,), skip=skip)
    found = {v.claim.id: v.answer for v in judge_runs([assess(run)], evidence)}
    alone = {v.claim.id: v.answer for v in judge_runs([], evidence)}
    assert found == alone


# ------------------------------------------------------------------ the ledger


@pytest.fixture
def ledger(tmp_path):
    def changed(*edits):
        folder = tmp_path / "article"
        shutil.copytree(ROOT / "data" / "article", folder)
        path = folder / "claims.toml"
        text = path.read_text(encoding="utf-8")
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new, 1)
        path.write_text(text, encoding="utf-8")
        return folder

    return changed


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('measure = "throughput"', 'measure = "happiness"', "claims B1a, measure"),
        ('by = "threshold"', 'by = "mood"', "claims B5, rules 1"),
        ('judge = { profile = "article" }', "judge = {}", "claims B1a, judge"),
        ("band_fraction = 0.20", "band_fraction = 0.30", "needs a new version"),
        ("reproduced = { op = \">\", value = 2 }", "reproduced = { op = \">\", value = 1.9 }",
         "needs a new version"),
        ("value = 5.9, unit", "value = 9.0, unit", "needs a new version"),
        ("version = 1\ndate", "version = 2\ndate", "versions: one entry for each"),
        ('gpu = "A40"', 'gpu = "H100"', "needs a new version"),
        ('measure = "e2e_p95"', 'measure = "e2e_p99"', "needs a new version"),
    ],
)  # fmt: skip
def test_a_ledger_that_cannot_be_judged_by_is_refused_with_its_place(ledger, old, new, place):
    with pytest.raises(BadInput) as caught:
        load_claims(ledger((old, new)))
    assert place in str(caught.value)
    assert caught.value.remedy


def test_the_refusal_of_an_unknown_measure_names_those_that_are_known(ledger):
    with pytest.raises(BadInput, match="ttft_p50"):
        load_claims(ledger(('measure = "throughput"', 'measure = "happiness"')))


def test_a_changed_rule_keeps_the_one_before_and_both_are_judged(ledger, evidence, tmp_path):
    old = 'rules = [{ kind = "shape", by = "threshold", reproduced = { op = ">", value = 2 }'
    new = 'rules = [{ kind = "shape", by = "threshold", reproduced = { op = ">", value = 0.5 }'
    before = (
        'earlier = [{ up_to = 1, reason = "a test", rules = [{ kind = "shape", by = "threshold", '
        'reproduced = { op = ">", value = 2 }, refuted = { op = "<", value = 1.2 } }] }]\n'
    )
    entry = (
        '[[versions]]\nversion = 2\ndate = 2026-12-01\nreason = "a test"\nrules_sha256 = "?"\n\n'
    )
    refuted = 'refuted = { op = "<", value = 1.2 }'
    edits = [
        (old, "since = 2\n" + before + new),
        (refuted + " }]\n\n#", 'refuted = { op = "<", value = 0.4 } }]\n\n#'),
        ("[setting]", entry + "[setting]"),
    ]
    folder = ledger(*edits)
    with pytest.raises(BadInput, match="version 2") as caught:
        load_claims(folder)
    checksum = str(caught.value).split("sha256 ")[1][:64]
    path = folder / "claims.toml"
    path.write_text(path.read_text().replace('"?"', f'"{checksum}"'))
    changed = load_claims(folder)
    run = pretend(tmp_path / "run", users=(1, 50), blocks=4)
    mine = {**vars(evidence), "ledger": changed}
    found = {v.claim.id: v for v in judge_runs([assess(run)], Evidence(**mine))}["B5"]
    assert (found.version, found.answer) == (2, "reproduced")
    assert found.earlier == ((1, "a test", "refuted"),)
    assert found.older_than_data is False  # the new rule is younger than the run


def test_what_is_not_there_yet_is_said(evidence):
    known = Known(profiles={})
    mine = {**vars(evidence), "known": known}
    found = {v.claim.id: v for v in judge_runs([], Evidence(**mine))}
    assert found["B4c"].judged_by == "profile quick (not in study.toml yet)"
    assert found["Q1"].judged_by.startswith("a profile of the experiment mechanisms (not")


def test_every_profile_that_would_judge_is_one_of_the_study_or_said_to_be_missing(evidence):
    named = {c.judge.profile for c in evidence.ledger.claims if c.judge and c.judge.profile}
    assert named - set(evidence.known.profiles) <= {"gpu-full"}


def test_a_contrast_that_no_claim_names_may_be_added(ledger):
    more = '[contrasts.E]\nabout = "a test"\nnumerator = "x"\ndenominator = "y"\n\n[tuned]'
    assert "E" in load_claims(ledger(("[tuned]", more))).contrasts


def test_a_study_file_that_cannot_be_read_knows_nothing(tmp_path):
    (tmp_path / "study.toml").write_text("[[[")
    assert Known.of(tmp_path).profiles == {}
    assert Known.of(tmp_path / "nowhere").profiles == {}
