"""Every analysis of loads can be made of imported runs, and each figure says what it is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from heavyweight import article, figures, tables
from heavyweight.estimates import assess, latency_table, ratio_table, throughput_table
from heavyweight.importing import Source, read, write_run
from tests.importing.test_importing import FILES
from tests.synthetic import LIMITS

CASES = {
    "one with lengths, one without": ("aiperf-closed", "vllm-closed"),
    "an open loop": ("vllm-open",),
    "two loads": ("guidellm-two",),
}


@pytest.mark.parametrize("case", CASES)
def test_tables_and_figures_of_imported_runs(case: str, tmp_path: Path) -> None:
    sources = [Source(read(FILES[name]), name) for name in CASES[case]]
    run = write_run(tmp_path, "theirs", sources, LIMITS)
    assessment, provenance = assess(run), figures.Provenance.of(run)
    throughput, ttft = throughput_table(assessment), latency_table(assessment, "ttft")
    ratios = {name: ratio_table(assessment, name) for name in run.run.contrasts}
    for table in (
        tables.cells(assessment), tables.failed_checks(assessment), tables.throughput(throughput),
        tables.ratios(assessment, ratios), tables.latency(ttft), tables.sessions(ttft),
        article.throughput_beside(article.load_article(), assessment), provenance.table(),
    ):  # fmt: skip
        assert "<NA>" not in table.to_string()
    for figure in (
        figures.throughput(throughput, assessment.cells, provenance),
        figures.latency(ttft, "ttft", provenance),
    ):
        assert "IMPORTED" in [text.get_text() for text in figure.texts]
        assert "supports no verdict" in figure.alt
    assert "machine not told" in provenance.footer()[0]
