"""The page of a run in a browser: it asks no host for anything and fits every screen."""

from __future__ import annotations

import html
import io
import json
import re
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest

from tests import pages
from tests.browser import CHROMIUM, asked, browsed

pytestmark = [
    pytest.mark.page,
    pytest.mark.timeout(300),  # two notebooks are executed first
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    return pages.made(tmp_path_factory.getbasetemp()).page


@pytest.fixture
def browse(tmp_path):
    """Open a file in a browser with an empty profile; returns what it printed."""

    return lambda path, *flags: browsed(path, tmp_path / "profile", *flags)


def measured(browse, page: Path, folder: Path, width: int, question: str) -> str:
    """The answer of a script about the page shown ``width`` pixels wide.

    The page stands in a frame of another page, since it runs no script of its own.
    """
    framed = folder / f"framed-{width}.html"
    framed.write_text(
        f'<iframe id="f" width="{width}" height="900" srcdoc="'
        f'{html.escape(page.read_text(encoding="utf-8"))}"></iframe><script>f.onload = () => '
        f"{{ const d = f.contentDocument; document.body.dataset.answer = {question}; }}</script>",
        encoding="utf-8",
    )
    found = re.search(r'data-answer="([^"]*)"', browse(framed, "--dump-dom"))
    assert found, "the browser did not load the page"
    return found.group(1)


def test_the_page_asks_no_host_for_anything(browse, page, tmp_path):
    log = tmp_path / "net.json"
    shown = browse(page, f"--log-net-log={log}", "--dump-dom")
    assert "Throughput" in shown
    assert asked(log) == []


def test_a_page_that_asks_is_caught(browse, tmp_path):
    """The test above can fail."""
    asking = tmp_path / "asking.html"
    asking.write_text('<p>x</p><img src="http://example.invalid/x.png">', encoding="utf-8")
    log = tmp_path / "net.json"
    browse(asking, f"--log-net-log={log}", "--dump-dom")
    assert asked(log) == ["http://example.invalid/x.png"]


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_the_page_fits_the_screen(browse, page, tmp_path, width):
    """Wide tables and figures are moved inside their own frames, never the page as a whole."""
    root = "d.documentElement"
    assert measured(browse, page, tmp_path, width, f"{root}.scrollWidth") == str(width)
    small = "[...d.images].map(i => Math.round(i.getBoundingClientRect().width))"
    widths = measured(browse, page, tmp_path, width, f"Math.min(...{small})")
    assert int(widths) >= 500, "a figure's text is legible on a phone too"


def test_nothing_is_wider_than_a_sheet_of_paper(browse, page, tmp_path):
    """What is printed cannot be moved sideways; the rules for print are applied on the screen."""
    sheet = 703  # A4 without the margins of page.css: 186 mm at 96 pixels an inch
    printed = tmp_path / "printed.html"
    text = page.read_text(encoding="utf-8")
    assert text.count("@media print {") == 1
    printed.write_text(text.replace("@media print {", "@media all {"), encoding="utf-8")
    right = "[...d.body.querySelectorAll('*')].map(e => e.getBoundingClientRect().right)"
    assert float(measured(browse, printed, tmp_path, sheet, f"Math.max(...{right})")) <= sheet
    shown = "[...d.querySelectorAll('nav, fieldset, figcaption, details')]"
    hidden = f"{shown}.every(e => !e.checkVisibility())"
    assert measured(browse, printed, tmp_path, sheet, hidden) == "true"


def test_the_data_of_every_figure_is_one_click_away(browse, page, tmp_path):
    """A link below it saves them: the numbers are those that were drawn, and they have names."""
    links = "[...d.querySelectorAll('figure')].map(f => [...f.querySelectorAll('a[download]')])"
    each = "l => l.map(a => [a.download, atob(a.href.split(',')[1])])"
    told = f"JSON.stringify({links}.map({each}))"
    saved = json.loads(html.unescape(measured(browse, page, tmp_path, 820, told)))
    assert len(saved) > 8
    without = [place for place, of_one in enumerate(saved) if len(of_one) != 1]
    assert without == [1], "only the figure that holds no number: no claim is of emulated servers"
    del saved[1]
    tables = {name: pd.read_csv(io.StringIO(text)) for [[name, text]] in saved}
    assert len(tables) == len(saved), "no two are saved under one name"
    assert not any(table.empty for table in tables.values()), [*tables]
    throughput = tables["throughput-by-concurrent-users.csv"]
    assert set(throughput["users"]) == {1, 4, 8, 50}
    assert (throughput["low"] < throughput["tok_s"]).all()
    assert {"ratio", "low", "high"} <= set(tables["how-many-times-the-throughput.csv"])


def test_code_is_folded_away(browse, page, tmp_path):
    heights = "[...d.querySelectorAll('details .highlight')].map(e => e.checkVisibility())"
    assert measured(browse, page, tmp_path, 820, f"{heights}.some(Boolean)") == "false"
    assert measured(browse, page, tmp_path, 820, f"{heights}.length > 5") == "true"


@pytest.mark.parametrize(("scheme", "dark"), [(1, False), (0, True)], ids=["light", "dark"])
def test_light_and_dark(browse, page, tmp_path, scheme, dark):
    picture = tmp_path / "page.png"
    browse(
        page,
        f"--screenshot={picture}",
        "--window-size=820,1000",
        f"--blink-settings=preferredColorScheme={scheme}",
    )
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[:2] == (1000, 820)
    corner = pixels[5:15, 5:15, :3].mean()
    assert (corner < 0.2) if dark else (corner > 0.9)
    assert pixels[..., :3].std() > 0.05, "something is written on it"
