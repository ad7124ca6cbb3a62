"""The audit: each finding against numbers computed by hand, and against a mended article."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from matplotlib.text import Text

from heavyweight import audit, figures, physics
from heavyweight.article import load_article, load_claims
from heavyweight.errors import BadInput
from heavyweight.paths import study_root

ROOT = study_root(Path(__file__).parent)
ARTICLE = load_article(ROOT / "data" / "article")
HARDWARE = physics.load_hardware(ROOT / "data" / "hardware.toml")
MODELS = physics.load_models(ROOT / "data" / "models.toml")
FOUND = audit.findings(ARTICLE, HARDWARE, MODELS)

JUDGED = {
    "roofline": "impossible",
    "eight-users": "contradiction",
    "ratios": "ok",
    "shape": "unsupported",
    "one-slot": "contradiction",
    "lengths": "unsupported",
    "slots": "contradiction",
    "same-figure": "unsupported",
    "vram": "impossible",
    "sentences": "contradiction",
    "origin": "unsupported",
}


def mended(rows):
    """The article with other throughputs: users: changes of its row."""
    throughput = [row.model_copy(update=rows.get(row.users, {})) for row in ARTICLE.throughput]
    return ARTICLE.model_copy(update={"throughput": throughput})


def said(name, *words):
    """Asserts that a sentence has these words."""
    for word in words:
        assert word in FOUND[name].sentence, f"{word!r} is not in: {FOUND[name].sentence}"


# ------------------------------------------------------------------ all


def test_all_findings_are_there_in_order_and_judged():
    assert {name: one.severity for name, one in FOUND.items()} == JUDGED
    assert list(FOUND) == list(JUDGED)
    assert [one.id for one in FOUND.values()] == list(FOUND)


@pytest.mark.parametrize("name", JUDGED)
def test_a_finding_is_whole(name):
    one = FOUND[name]
    assert re.fullmatch(r"[A-Z0-9].*\.", one.sentence), one.sentence
    assert "nan" not in one.sentence.lower()
    assert len(one.table) > 0
    assert len(one.formula) > 30
    assert one.table.map(lambda cell: isinstance(cell, str)).all(axis=None)
    bundle = one._repr_mimebundle_()
    assert one.sentence in bundle["text/plain"]
    assert "<td>" in bundle["text/html"]


@pytest.mark.parametrize("name", JUDGED)
def test_cells_are_short_enough_to_be_shown_whole(name):
    """pandas cuts a cell at 50 characters."""
    table = FOUND[name].table
    assert table.map(len).max(axis=None) < 50
    assert max(len(str(label)) for label in table.index) < 50


def test_three_are_told_first():
    first = audit.first_three(FOUND)
    assert [one.id for one in first] == ["roofline", "eight-users", "origin"]
    assert list(audit.overview(FOUND)["judged"]) == list(JUDGED.values())


def test_an_unknown_gpu_or_model_is_refused():
    with pytest.raises(BadInput, match="did you mean 'A40'"):
        audit.findings(ARTICLE, HARDWARE, MODELS, gpu="A4O")
    with pytest.raises(BadInput, match=r"did you mean 'llama-3\.1-8b'"):
        audit.findings(ARTICLE, HARDWARE, MODELS, model="llama-31-8b-")


# ------------------------------------------------------------------ throughput


def test_roofline_by_hand():
    """696 / 15.0098 = 46.37 steps/s: 46.4, 185, 371, 2,318. 187 x 15.0098 = 2,807 GB/s, 4.0 x 696.
    On the RTX 4090 1,008 / 15.0098 = 67.2."""
    said("roofline", "46.4, 185, 371 and 2,318", "71, 280 and 590 cannot be, 920 can")
    said("roofline", "2,807 GB/s, 4.0 times", "67.2: 71 is above that too", "SitePoint")
    table = FOUND["roofline"].table
    assert list(table["published (tok/s)"]) == ["71", "280", "590", "920", "187 x 8"]
    assert list(table["A40, judged"]) == ["impossible"] * 3 + ["possible", "impossible"]
    assert list(table["A40, share of it"]) == ["153%", "151%", "159%", "40%", "403%"]


def test_roofline_agrees_with_the_ledger():
    bounds = {"B1a": 1, "B2a": 4, "B4a": 50}
    ledger, gpu = load_claims(ROOT / "data" / "article"), HARDWARE.gpu("A40")
    for claim, users in bounds.items():
        rule = next(rule for rule in ledger.by_id[claim].rules if rule.by == "bound")
        found = physics.bound(gpu, MODELS.model("llama-3.1-8b"), users).tok_s
        assert rule.value == pytest.approx(found, rel=0.002), claim


def test_a_possible_table_is_let_pass():
    article = mended({1: {"vllm_tok_s": 40}, 4: {"vllm_tok_s": 150}, 8: {"vllm_tok_s": 300}})
    found = audit.findings(article, HARDWARE, MODELS)
    assert found["roofline"].severity == "ok"
    assert "all of them can be" in found["roofline"].sentence
    assert audit.findings(ARTICLE, HARDWARE, MODELS, gpu="H200")["roofline"].severity == "ok"


def test_eight_users_by_hand():
    """187 x 8 = 1,496; 82 x 8 = 656; 590 / 2.3 = 256.5; 187 / 82 = 2.280; 590 / 656 = 0.899."""
    said("eight-users", "1,496", "656", "more than vLLM's 590", "257", "187 / 82")
    table = FOUND["eight-users"].table
    assert list(table["gives"]) == ["1,496", "656", "2.28", "0.899"]
    assert list(table["it is"]) == ["590", "257", "2.30", "2.30"]
    assert list(table["agree"]) == ["no", "no", "yes", "no"]


def test_a_row_that_agrees_is_let_pass():
    row = {"vllm_tok_s": 1496, "vllm_per_request_tok_s": 187, "ollama_per_request_tok_s": 82}
    assert audit.eight_users(mended({8: row})).severity == "ok"


def test_ratios_by_hand():
    """71 / 62 = 1.145, 280 / 160 = 1.750, 187 / 82 = 2.280, 920 / 155 = 5.935."""
    assert list(FOUND["ratios"].table["quotient"]) == ["1.145", "1.750", "2.280", "5.935"]
    assert set(FOUND["ratios"].table["agree"]) == {"yes"}
    wrong = audit.ratios(mended({4: {"advantage": 1.9}}))
    assert wrong.severity == "contradiction"
    assert "not at 4" in wrong.sentence


def test_shape_by_hand():
    """62, 160, then 656, 257 or 82, then 155: falls by 76%, 40%, 49%."""
    curves = audit.readings(ARTICLE)
    assert [round(curve[8]) for curve in curves.values()] == [656, 257, 82]
    falls = list(FOUND["shape"].table["largest fall"])
    assert falls == ["-76%, 8 to 50 users", "-40%, 8 to 50 users", "-49%, 4 to 8 users"]
    said("shape", "656 or 257 or 82", "In 3 of 3 readings")
    flat = audit.shape(mended({8: {"ollama_per_request_tok_s": 20}}))
    assert flat.severity == "ok"


def test_one_slot_by_hand():
    """160 / 62 = 2.58, 155 / 62 = 2.50."""
    assert list(FOUND["one-slot"].table["slots, at least"]) == ["1.00", "2.58", "2.50"]
    said("one-slot", "about 62 tok/s", "155 at 50 users", "2.6 and 2.5 requests")
    level = {4: {"ollama_tok_s": 63}, 50: {"ollama_tok_s": 60}}
    assert audit.one_slot(mended(level)).severity == "ok"


# ------------------------------------------------------------------ latency, memory, words


def test_lengths_by_hand():
    """920 x 2.1 / 50 = 38.64; 155 x 18.4 / 50 = 57.04."""
    assert list(FOUND["lengths"].table["tokens, at most"]) == ["38.6", "57.0"]
    said("lengths", "38.6 output tokens on vLLM and 57.0", "lengths are not stated")


def test_slots_by_hand():
    """50 x (1 - 3.2 / 18.4) = 41.3. 41 x 4,096 x 128 KiB = 20.5 GiB; x 8 = 164 GiB. With one slot
    18.4 x 49 / 50 = 18.0 s; 3.2 x 50 / 49 = 3.27 s, and 155 x 3.27 / 50 = 10.1 tokens."""
    said("slots", "41 slots", "20.5 GiB and 164 GiB", "is 18.0 s", "3.27 s, with 10.1 tokens")
    assert list(FOUND["slots"].table.index) == [1, 4, 8, 41]


def test_a_figure_that_stands_twice_is_found():
    said("same-figure", "3.2 s stands 2 times for Ollama", "50 users and cold start")
    cold = ARTICLE.cold_start.model_copy(update={"ollama_s": 3.3})
    found = audit.same_figure(ARTICLE.model_copy(update={"cold_start": cold}))
    assert found.severity == "ok"


def test_vram_by_hand():
    """GB: 16.06 > 16, 29.54 > 26, 65.53 > 64, 141.1 > 140. GiB: 14.96, 27.51 > 26, 61.03, 131.4."""
    said("vram", "Taken as GB, 4 of 4", "16 of 16.1, 26 of 29.5, 64 of 65.5 and 140 of 141 GB")
    said("vram", "Taken as GiB, 1 is (26 of 27.5 GiB)", "leave 1.04 to 8.58 GiB")
    table = FOUND["vram"].table.set_index("model")
    assert table.loc["qwen2.5-14b", "weights fit"] == "no"
    assert table.loc["llama-3.1-8b", "weights fit"] == "as GiB"
    assert table.loc["llama-3.1-70b", "weights"] == "141 GB = 131 GiB"


def test_sentences_that_exclude_each_other():
    assert list(FOUND["sentences"].table.index) == ["Ollama's set-up", "VRAM"]
    said("sentences", "5 to 10 minutes", "under 5 minutes", "VRAM")


def test_origin_is_traced():
    """Of the 17 throughputs and times 8 are SitePoint's: 4 totals, 2 first responses, 2 p99."""
    figures_ = audit.figures(ARTICLE)
    assert len(figures_) == 17
    table = FOUND["origin"].table
    assert list(table["first found with"]).count("SitePoint") == 8
    assert set(table["first found with"]) == {"SitePoint", "no source seen"}
    said("origin", "8 of 17", "75 days before", "RTX 4090, not NVIDIA A40 48 GB")
    said("origin", "Red Hat Developer, which the article credits, has none of them")
    said("origin", "Markaicode, credited too, was not found", "throughput of 4 users")


def test_a_number_of_another_load_or_unit_is_no_match():
    """SitePoint has 82 too: milliseconds of one user, not tok/s of eight."""
    source = next(s for s in ARTICLE.sources if s.id == "sitepoint")
    stands = {(f.server, f.users, f.value) for f in audit.figures(ARTICLE) if f.stands_in(source)}
    assert ("vLLM", 1, 71) in stands
    assert ("Ollama", 8, 82) not in stands
    assert ("Ollama", 50, 24_700) in stands


# ------------------------------------------------------------------ figures


@pytest.fixture(scope="module")
def drawn():
    gpus = [HARDWARE.gpu(name) for name in ("A40", "RTX 4090")]
    return {
        "roofline": figures.roofline(ARTICLE, gpus, MODELS.model("llama-3.1-8b")),
        "curve": figures.ollama_curve(ARTICLE),
        "vram": figures.vram(audit.needs(ARTICLE, MODELS)),
    }


def test_figures_say_that_nothing_was_measured(drawn):
    for name, figure in drawn.items():
        words = " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
        assert "nothing was measured" in words, name
        assert "EMULATED" not in words, name
        assert len(figure.alt) > 100, name
        assert figure._repr_mimebundle_()[0]["image/png"]


def test_figures_stay_inside_their_edges(drawn):
    for name, figure in drawn.items():
        figure.draw_without_rendering()
        box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        assert (box.x0, box.y0) >= (0, 0), name
        assert box.x1 <= width, name
        assert box.y1 <= height, name


def test_impossible_points_have_a_marker_of_their_own(drawn):
    lines = {line.get_label(): line for line in drawn["roofline"].axes[0].get_lines()}
    bad, good = (lines[f"published for the A40: {word}"] for word in ("impossible", "possible"))
    assert list(bad.get_xdata()) == [1, 4, 8]
    assert list(good.get_xdata()) == [50]
    assert bad.get_marker() != good.get_marker()


def test_readings_differ_without_colour(drawn):
    lines = [x for x in drawn["curve"].axes[0].get_lines() if x.get_marker() not in ("", "None")]
    assert len({line.get_marker() for line in lines}) == len(lines) == 3


# ------------------------------------------------------------------ notebook


def test_the_notebook_has_a_section_for_each_finding():
    notebook = nbformat.read(ROOT / "analysis" / "audit.ipynb", as_version=4)
    headings = [
        line.removeprefix("## ")
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    assert [one.title for one in FOUND.values()] == [h for h in headings if h != "All findings"]
    shown = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    for name in FOUND:
        assert f'found["{name}"]' in shown
    told = "\n".join(
        output.data["text/plain"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "data" in output
    )
    for one in FOUND.values():
        assert f"finding: {one.sentence}" in told, "execute the notebook anew"
