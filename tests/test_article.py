"""The article as data, and the ledger: complete, consistent with itself, refused when damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from heavyweight.article import load_article, load_claims
from heavyweight.article.rules import Agreement, Band, Bound, Range
from heavyweight.design import load_study
from heavyweight.errors import BadInput
from heavyweight.paths import study_root

DATA = study_root(Path(__file__).parent) / "data" / "article"

IDS = """
B1a B1b B1c B2a B2b B2c B3a B3b B3c B4a B4b B4c B5 L1a L1b L1r L2a L2b L2r L3a L3b L3r L4 S1 S2 Sr
E1 H1 Q1 Q2a Q2b Q3 Q4 Q5 Q6 D1 D2 D3 D4 D5 D6a D6b D7 T1 T2 T3 T4 V1 V2 V3 V4 V5 V6 V7 R1a R1b R2
R3 R4 R5 U1 U2 U3 A1 A2 A3 A4 P1
"""


@pytest.fixture(scope="module")
def ledger():
    return load_claims(DATA)


@pytest.fixture(scope="module")
def article():
    return load_article(DATA)


@pytest.fixture
def copy(tmp_path):
    """A copy of data/article with one text replaced by another in one of its files."""

    def damage(name, old, new):
        shutil.copytree(DATA, tmp_path / "article")
        path = tmp_path / "article" / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return path.parent

    return damage


def test_every_claim_is_there(ledger):
    assert [claim.id for claim in ledger.claims] == IDS.split()


def test_every_kind_and_need_is_explained(ledger):
    assert {kind for claim in ledger.claims for kind in claim.kinds} == set(ledger.kinds)
    assert {need for claim in ledger.claims for need in claim.needs} == set(ledger.needs)


def test_absolute_claims_wait_for_the_setting_or_the_means(ledger):
    """An absolute claim must not be decided on any machine that happens to be at hand."""
    for claim in ledger.claims:
        if "absolute" in claim.kinds:
            assert {"setting", "gpu", "network"} & set(claim.needs), claim.id


def test_published_throughputs_are_those_of_the_table(ledger, article):
    table = article.throughput_table()
    for claim, column, users in [
        ("B1a", "vllm_tok_s", 1), ("B1b", "ollama_tok_s", 1), ("B1c", "advantage", 1),
        ("B2a", "vllm_tok_s", 4), ("B2b", "ollama_tok_s", 4), ("B2c", "advantage", 4),
        ("B3a", "vllm_per_request_tok_s", 8), ("B3b", "ollama_per_request_tok_s", 8),
        ("B3c", "advantage", 8),
        ("B4a", "vllm_tok_s", 50), ("B4b", "ollama_tok_s", 50), ("B4c", "advantage", 50),
    ]:  # fmt: skip
        found = ledger.by_id[claim]
        assert found.published[0].value == table.loc[users, column], claim
        assert found.users == users


def test_published_latencies_are_those_of_the_table(ledger, article):
    for row, claim in zip(article.latency, ("L1", "L2", "L3"), strict=True):
        vllm, ollama, ratio = (ledger.by_id[claim + end].published[0].value for end in "abr")
        assert vllm * 1000 == pytest.approx(row.vllm_ms)
        assert ollama * 1000 == pytest.approx(row.ollama_ms)
        assert ratio == pytest.approx(ollama / vllm, rel=0.01)


def test_published_memory_is_that_of_the_table(ledger, article):
    for row, claim in zip(article.vram, ("V1", "V2", "V3", "V4"), strict=True):
        fp16, q4 = ledger.by_id[claim].published
        assert (fp16.value, q4.low, q4.high) == (row.fp16_gb, *row.q4_gb)


def test_cold_starts_are_those_of_the_article(ledger, article):
    assert ledger.by_id["S1"].published[0].value == article.cold_start.ollama_s
    assert ledger.by_id["S2"].published[0].value == article.cold_start.vllm_s


@pytest.mark.parametrize(("claim", "users"), [("B1a", 1), ("B2a", 4), ("B4a", 50)])
def test_rooflines_follow_from_the_physics(ledger, claim, users):
    physics = ledger.physics
    steps_per_s = physics.memory_bytes_per_s / physics.read_bytes_per_step
    bound = next(rule for rule in ledger.by_id[claim].rules if isinstance(rule, Bound))
    assert bound.value == pytest.approx(users * steps_per_s, rel=0.001)


def test_agreements_compare_what_the_table_prints(ledger, article):
    row = article.throughput_table().loc[8]
    rules = {claim: ledger.by_id[claim].rules[0] for claim in ("B3a", "B3b")}
    assert all(isinstance(rule, Agreement) for rule in rules.values())
    assert rules["B3a"].left == row.vllm_per_request_tok_s * 8
    assert rules["B3a"].right == row.vllm_tok_s
    assert rules["B3b"].left == row.ollama_per_request_tok_s * 8
    assert rules["B3b"].right == pytest.approx(row.vllm_tok_s / row.advantage, rel=0.001)


def test_kv_bytes_follow_from_the_model(ledger):
    layers, heads, width, keys_and_values, bytes_each = 32, 8, 128, 2, 2
    tokens = layers * heads * width * keys_and_values * bytes_each
    assert ledger.physics.kv_bytes_per_token == tokens
    assert ledger.physics.weights_bytes == 2 * ledger.physics.parameters


def test_arms_of_contrasts_are_arms_of_the_study(ledger):
    arms = {arm.name for arm in load_study(DATA.parents[1] / "study.toml").arms.values()}
    for contrast in ledger.contrasts.values():
        if not contrast.needs_gpu:
            assert {contrast.numerator, contrast.denominator} <= arms
    for claim in ledger.claims:
        assert set(claim.arms) <= arms, claim.id


def test_rules_name_the_number_they_judge(ledger):
    for claim in ledger.claims:
        for rule in claim.rules:
            if isinstance(rule, Band | Range) and len(claim.published) > 1:
                assert rule.of in {number.name for number in claim.published}


@pytest.mark.parametrize(
    ("name", "old", "new", "place"),
    [
        ("tables.toml", "users = 50", "users = 4", "row stands twice"),
        ("tables.toml", "advantage = 1.1", 'advantage = "much"', "throughput 1, advantage"),
        ("tables.toml", "schema = 1", "schema = 2", "schema"),
        ("claims.toml", 'by = "band"', 'by = "feeling"', "claims B1a, rules 1"),
        ("claims.toml", 'id = "B1b"', 'id = "B1a"', "claim B1a stands twice"),
        ("claims.toml", 'kind = "absolute", by', 'kind = "opinion", by', "claims B1a, rules 1"),
        ("claims.toml", 'contrasts = ["A"]', 'contrasts = ["Z"]', "claim B1c: no contrast Z"),
        ("claims.toml", 'other = "U1"', 'other = "U9"', "claim D4: no claim U9"),
        ("claims.toml", 'op = ">", value = 2 }', 'op = ">", value = 1 }', "overlap"),
        ("claims.toml", "low = 5, high = 10", "low = 10, high = 5", "low < high"),
        ("tables.toml", 'id = "vllm-0.21.0"', 'id = "hearsay"', "no source vllm-0.21.0"),
        ("claims.toml", 'needs = ["article", "run", "setting"]', "needs = []", "claims B1a, needs"),
        ("claims.toml", "version = 1", "version = 1\nmood = 2", "mood"),
        ("claims.toml", "[kinds]", "[kinds", "is not TOML"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_with_its_place(copy, name, old, new, place):
    folder = copy(name, old, new)
    with pytest.raises(BadInput) as caught:
        load_claims(folder)
    assert name in str(caught.value)
    assert place in str(caught.value)
    assert caught.value.remedy


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"no tables\.toml"):
        load_article(tmp_path)
