"""The page in headless Chromium: all is drawn, tables sort and filter, nothing leaves the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.report.writing import write_grid_report
from tests.experiments.report.samples import CHROMIUM, Shape, rows, write

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (dev extra)")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
LOAD_MS = 120_000
"""A page draws all its charts before it is loaded; on a busy machine that is more than Playwright's 30 s."""
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found; apt-get install chromium")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rules = (
        "mean",
        "krum",
        "median",
        "norm_clip",
        "geometric_median",
        "bulyan",
        "trimmed_mean",
        "dnc",
        "sieve",
    )
    attacks = (
        "control",
        "sign_flip",
        "min_max",
        "alie",
        "nan",
        "label_to_target",
        "psmu",
        "dv_fsr",
        "popular_shilling",
    )
    found = rows(Shape(rules=rules, attacks=attacks, shares=(0.05, 0.2), seeds=(0, 1, 2)))
    found[0] |= {"status": "failed", "error": "RunError: " + "a-very-long-word" * 12}
    return write_grid_report(write(tmp_path_factory.mktemp("grid"), found), images=False).page


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(
    scope="module", params=[(1280, "light"), (1280, "dark"), (390, "light")], ids=["light", "dark", "phone"]
)
def page(request: pytest.FixtureRequest, browser: sync_api.Browser, report: Path) -> Iterator[sync_api.Page]:
    """An open page; whatever it logs or asks for besides itself fails the test."""
    width, scheme = request.param
    opened = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    told: list[str] = []
    opened.on("console", lambda message: told.append(message.text))
    opened.on("pageerror", lambda error: told.append(str(error)))
    asked: list[str] = []
    opened.on("request", lambda sent: asked.append(sent.url))
    opened.goto(report.as_uri(), timeout=LOAD_MS)
    yield opened
    opened.close()
    assert told == []
    assert asked == [report.as_uri()]


def test_every_plot_is_drawn_whatever_is_chosen(page: sync_api.Page) -> None:
    figures = page.locator(".figure")
    assert figures.count() == 9
    assert page.locator(".nothing").count() == 0
    assert_drawn(figures)
    weights = page.locator("[id$=-weights]")
    weights.locator("select").select_option("the three hardest attacks")
    assert weights.locator(".chart .subplot").count() == 3
    weights.locator("select").select_option("psmu, 5 %")
    page.wait_for_function("() => document.querySelectorAll('[id$=-weights] .chart .subplot').length === 1")
    room = weights.evaluate("one => one.clientWidth")  # it has the room that there is, once drawn anew
    alone = weights.locator(".chart .main-svg").first.element_handle()
    page.wait_for_function("([one, room]) => Math.abs(one.clientWidth - room) < 2", arg=[alone, room])


def assert_drawn(figures: sync_api.Locator) -> None:
    """Whatever is chosen, every chart has a mark that an eye can see."""
    for i in range(figures.count()):
        figure = figures.nth(i)
        choice = figure.locator("select")
        options = choice.locator("option").all_inner_texts() if choice.count() else [""]
        for option in (options[0], options[-1]):
            if choice.count():
                choice.select_option(option)
            assert figure.locator(".chart:visible").count() == 1
            assert seen(figure.locator(".chart")) > 3, (figure.get_attribute("id"), option)


def seen(chart: sync_api.Locator) -> float:
    """The largest side of the chart's marks, in pixels; a line of one point has none."""
    marks = chart.locator(".main-svg .trace path, .main-svg .points path, .main-svg .heatmaplayer image")
    found: float = marks.evaluate_all(
        """found => found.map(one => one.getBoundingClientRect()).reduce(
             (most, box) => Math.max(most, box.width, box.height), 0)"""
    )
    return found


def test_nothing_is_wider_than_the_window(page: sync_api.Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")
    wide = page.evaluate(
        """() => [...document.querySelectorAll('body *')].filter(one => {
             if (one.closest('.wide, .data, pre, svg, .js-plotly-plot')) return false;
             return one.getBoundingClientRect().right > innerWidth + 1;
           }).map(one => one.outerHTML.slice(0, 80))"""
    )
    assert wide == []


def test_text_stands_out_from_the_page(page: sync_api.Page) -> None:
    """Ink and paper follow the reader's scheme, in the text and in the charts."""
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
    tick = page.locator(".chart .xtick text").first
    colour = tick.evaluate("one => getComputedStyle(one).fill")
    assert colour == ("rgb(228, 232, 238)" if dark else "rgb(28, 33, 40)")
    page.emulate_media(color_scheme="light" if dark else "dark")
    page.wait_for_function(
        "([one, old]) => getComputedStyle(document.querySelector(one)).fill !== old",
        arg=[".chart .xtick text", colour],
    )
    page.emulate_media(color_scheme="dark" if dark else "light")


POOR = {
    "no attack": Shape(attacks=("none",)),
    "control alone": Shape(attacks=("control",), shares=(0.05, 0.2)),
    "no clean run": Shape(attacks=("sign_flip", "psmu")),
    "one seed": Shape(seeds=(3,)),
    "one strategy": Shape(rules=("sieve",)),
    "one cell": Shape(rules=("median",), attacks=("zero",), seeds=(0,)),
    "no curve": Shape(attacks=("control", "psmu"), rounds=(12,)),
}
NOTHING = {
    "no attack": {"rejections"},
    "control alone": {"rejections"},
    "no clean run": {"rejections"},
    "one seed": set(),
    "one strategy": set(),
    "one cell": {"rejections"},
    "no curve": {"curves-ndcg", "rejections"},
}


@pytest.mark.parametrize("name", POOR)
def test_a_poor_grid_has_no_empty_plot(tmp_path: Path, browser: sync_api.Browser, name: str) -> None:
    shape = POOR[name]
    every = 0 if name == "no curve" else 3
    written = write_grid_report(write(tmp_path, rows(shape), shape.rounds, every=every), images=False)
    opened = browser.new_page()
    told: list[str] = []
    opened.on("console", lambda message: told.append(message.text))
    opened.on("pageerror", lambda error: told.append(str(error)))
    opened.goto(written.page.as_uri(), timeout=LOAD_MS)
    assert_drawn(opened.locator(".figure"))
    nothing = opened.locator(".nothing")
    ids = {str(nothing.nth(i).get_attribute("id")) for i in range(nothing.count())}
    assert {one.removeprefix("synthetic-sasrec-") for one in ids} == NOTHING[name]
    for i in range(nothing.count()):
        assert nothing.nth(i).locator(".note").inner_text().startswith("None: ")
    curves = opened.locator("[id$=-curves-ndcg]")
    assert ("eval.every = 0" in curves.inner_text()) == (name == "no curve")
    assert curves.locator(".chart").count() == (name != "no curve")
    assert told == []
    opened.close()


def test_failed_cells_alone_make_a_page_without_plots(tmp_path: Path, browser: sync_api.Browser) -> None:
    failed = [one | {"status": "failed", "error": "no disk"} for one in rows(Shape(seeds=(0,)))]
    written = write_grid_report(write(tmp_path, failed), images=False)
    opened = browser.new_page()
    told: list[str] = []
    opened.on("console", lambda message: told.append(message.text))
    opened.on("pageerror", lambda error: told.append(str(error)))
    opened.goto(written.page.as_uri(), timeout=LOAD_MS)
    assert opened.locator(".figure, .nothing, .chart").count() == 0
    assert opened.locator("[data-table=failed] tbody tr").count() == len(failed)
    assert "No cell has finished" in opened.locator("body").inner_text()
    assert told == []
    opened.close()


def column(table: sync_api.Locator, number: int) -> list[str]:
    found: list[str] = table.locator("tbody tr:not([hidden])").evaluate_all(
        "(rows, at) => rows.map(row => row.cells[at].dataset.v)", number
    )
    return found


def test_heads_sort_and_floors_stay_below(page: sync_api.Page) -> None:
    table = page.locator("[data-table=main]")
    ndcg = table.locator("thead button", has_text="NDCG@10 clean")
    for descending in (True, False):
        ndcg.click()
        *values, popularity, markov = map(float, column(table, 2))
        assert values == sorted(values, reverse=descending)
        assert len(values) == 9
        assert (popularity, markov) == (0.045, 0.077)
    assert table.locator("[aria-sort]").get_attribute("aria-sort") == "ascending"
    table.locator("thead button", has_text="Strategy").click()
    names = column(table, 0)[:-2]
    assert names == sorted(names)
    p = table.locator("thead button", has_text="p (Holm)")
    for _ in range(2):
        p.click()
        values = column(table, 7)[:-2]
        assert values[-1] == ""  # the baseline has no p, whichever way
        assert "" not in values[:-1]


def test_filters_narrow_the_long_table(page: sync_api.Page) -> None:
    table = page.locator("[data-table=runs]")
    everything = len(column(table, 0))
    assert table.locator(".count").inner_text() == f"{everything} rows"
    table.get_by_label("Strategy").select_option("krum")
    assert set(column(table, 0)) == {"krum"}
    table.get_by_label("malicious").select_option("5 %")
    assert set(column(table, 2)) == {"0.05"}
    table.get_by_label("Search").fill("PSMU kr")
    assert column(table, 1) == ["psmu"]
    assert table.locator(".count").inner_text() == f"1 of {everything} rows"
    table.get_by_label("Search").fill("")
    table.get_by_label("Strategy").select_option("all")
    table.get_by_label("malicious").select_option("all")
    assert len(column(table, 0)) == everything
