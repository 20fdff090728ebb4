"""One figure a plot, for the page and as image files."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from experiments.report import images
from experiments.report.drawing import draw
from experiments.report.drawing.colours import COLOURS, GREY, SCALE, ink, scaled
from experiments.report.drawing.frame import brief
from experiments.report.images import ImagesError, save
from experiments.report.plots import Heatmap, Line, Lines, Panels, Plot, Point, Ranks, Scatter, Series
from experiments.report.statistics import Estimate
from experiments.report.writing import write_grid_report
from tests.experiments.report.samples import CHROMIUM, Shape, rows, write

CELLS = [[Estimate(0.93, 0.1, 3), None]] * 2
HEAT = Heatmap("H", ["a_b", "<c>"], ["x", "y"], CELLS, 0, 1, frozenset({"a_b"}))
LINES = Lines("L", "round", "y", [Line("<a>", [1, 2], [Estimate(0.01, 0.5, 2), Estimate(0.9, 0.5, 2)], 0)])
THIN = Lines("L", "round", "y", [Line("a", [1], [Estimate(0.1, 0.5, 2)])])
SCATTER = Scatter(
    "S",
    "x",
    "y",
    [
        Point("a", Estimate(1, 0.5, 2), Estimate(2, None, 1), True),
        Point("b", Estimate(2, None, 1), Estimate(1, None, 1), True),
    ],
    {"<floor>": 0.5},
)
DOTS = Ranks("R", "x", ["a", "b"], [Series("s", [Estimate(1, None, 1), None])], True, 1.0)
PANELS = Panels("P", [replace(DOTS, title="<one>"), replace(DOTS, title="two")])
BARS = Ranks("R", "x", ["a"], [Series("s", [Estimate(1, 0.2, 2)]), Series("t", [None], 1)])
KINDS = {"heat": HEAT, "lines": LINES, "thin": THIN, "scatter": SCATTER, "dots": DOTS, "panels": PANELS}
KINDS["bars"] = BARS
LONG = "NDCG@10 retained: amazon-beauty, sasrec (rounds=1000); under the three hardest attacks"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every kind, twice, with a title of several lines."""
    if CHROMIUM is None:
        pytest.skip("no Chromium found; apt-get install chromium")
    folder = tmp_path_factory.mktemp("images")
    return save(
        (draw(plot), folder / n / f"{name}.1", f"{LONG} <b>") for n in "ab" for name, plot in KINDS.items()
    )


def test_every_kind_is_written_as_png_and_svg(written: list[Path]) -> None:
    assert len(written) == len(set(written)) == 4 * len(KINDS)
    assert [path.name for path in written[:2]] == ["heat.1.png", "heat.1.svg"]
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert len(image.convert("RGB").getcolors(10**6) or []) > 5  # not an empty sheet
        else:
            assert "&#60;b&#62;" in path.read_text()  # a text of the title, no tag


def test_the_same_figure_gives_the_same_file(written: list[Path]) -> None:
    half = len(written) // 2
    for first, second in zip(written[:half], written[half:], strict=True):
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes()


def test_nothing_is_cut_off_at_the_edge(written: list[Path]) -> None:
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                found = image.convert("RGB")
                left, top, right, bottom = ImageChops.difference(
                    found, Image.new("RGB", found.size, "white")
                ).getbbox() or (0, 0, 0, 0)
            assert min(left, top, found.width - right, found.height - bottom) >= 2, path


def test_without_a_browser_the_page_is_written_and_a_note_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from choreographer.browsers import chromium

    def none(*_: object, **__: object) -> None:
        raise chromium.ChromeNotFoundError

    monkeypatch.setattr("kaleido.write_fig_from_object_sync", none)
    with pytest.raises(ImagesError, match="no Chrome or Chromium is found"):
        images.save([(draw(HEAT), tmp_path / "x", "")])
    found = write_grid_report(write(tmp_path / "grid", rows(Shape(seeds=(0,)))))
    assert found.page.is_file()
    assert found.images == []
    assert "no image files: no Chrome or Chromium is found" in found.notes[-1]


def test_bands_stay_between_0_and_1_and_grey_lines_have_none() -> None:
    band, mean = draw(LINES).data
    assert (band.x, band.y) == ((1, 2, 2, 1), (0.51, 1.0, 0.4, 0.0))
    assert (mean.y, mean.name) == ((0.01, 0.9), "&lt;a&gt;")
    (only,) = draw(THIN).data
    assert (only.showlegend, only.line.width, only.line.color) == (False, 1, GREY)
    assert (only.mode, mean.mode) == ("markers", "lines")  # one point makes no line


def test_points_have_names_intervals_and_a_front() -> None:
    front, points = draw(SCATTER).data
    assert (front.x, points.x) == ((1.0, 2.0), (1.0, 2.0))
    assert points.error_x.array == (0.5, 0.0)
    assert points.error_y.array is None
    assert points.text == ("a", "b")
    assert [one.mode for one in draw(replace(SCATTER, points=SCATTER.points[:1])).data] == ["markers+text"]
    nameless = replace(SCATTER, points=[replace(p, named=False) for p in SCATTER.points])
    assert draw(nameless).data[1].text == ("", "")
    assert [one.text for one in draw(SCATTER).layout.annotations] == ["&lt;floor&gt;"]
    assert draw(SCATTER).layout.shapes[0].x0 == 0.5


def test_bars_and_dots_by_name() -> None:
    figure = draw(DOTS)
    (dots,) = figure.data
    assert (dots.y, dots.mode, dots.marker.color) == (("a",), "markers", COLOURS[0])
    assert figure.layout.yaxis.categoryarray == ("a", "b")  # also where nothing was measured
    wide = replace(BARS, series=[Series("s", [Estimate(1, 3.0, 2)])])
    (bar,) = draw(wide).data
    assert (bar.error_x.array, bar.error_x.arrayminus) == ((3.0,), (1.0,))  # no time below 0
    first, second = draw(BARS).data
    assert (first.orientation, first.error_x.array, second.x) == ("h", (0.2,), ())
    several = draw(PANELS)
    assert [one.showlegend for one in several.data] == [False, False]
    assert [one.text for one in several.layout.annotations] == ["<b>&lt;one&gt;</b>", "<b>two</b>"]
    assert several.layout.xaxis.range == several.layout.xaxis2.range
    assert several.layout.xaxis.domain[1] < several.layout.xaxis2.domain[0]


def test_a_map_shows_its_numbers_and_its_names() -> None:
    figure = draw(HEAT)
    cells, texts = figure.data
    assert [list(row) for row in cells.z] == [[0.93, None]] * 2
    assert [list(row) for row in cells.customdata] == [
        ["a_b, x: 0.9300 ± 0.1000, 3 seeds", "a_b, y: not run"],
        ["&lt;c&gt;, x: 0.9300 ± 0.1000, 3 seeds", "&lt;c&gt;, y: not run"],
    ]
    assert texts.text == (".93", "–", ".93", "–")
    assert (texts.x, texts.y) == ((0, 1, 0, 1), (0, 0, 1, 1))
    assert texts.textfont.color[:2] == (ink(scaled(0.93, 0, 1)), GREY)
    assert figure.layout.yaxis.ticktext == ("<b>a_b</b>", "&lt;c&gt;")
    assert (cells.zmin, cells.zmax, cells.colorscale[0][1]) == (0, 1, SCALE[0])
    turned = draw(replace(HEAT, worst=1.0, best=0.0)).data[0]
    assert (turned.zmin, turned.zmax, turned.colorscale[0][1]) == (0.0, 1.0, SCALE[-1])
    more = draw(replace(HEAT, columns=["x", "y", "z"], cells=[[None] * 3] * 2))
    assert more.layout.width > figure.layout.width


@pytest.mark.parametrize("plot", KINDS.values(), ids=list(KINDS))
def test_figures_are_plain_data_for_the_page(plot: Plot) -> None:
    found = json.loads(json.dumps(draw(plot).to_plotly_json()))
    assert {"data", "layout"} <= found.keys()
    assert found["layout"]["height"] > 50


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.934, ".93"), (1.0, "1.00"), (0.999, "1.00"), (1.2, "1.20"), (-0.5, "-.50"), (0, ".00")],
)
def test_numbers_in_small_cells(value: float, text: str) -> None:
    assert brief(value) == text


def test_colours_run_from_worst_to_best_and_text_can_be_read() -> None:
    assert [scaled(v, 0, 1) for v in (-1, 0, 0.5, 1, 9)] == [
        SCALE[0],
        SCALE[0],
        SCALE[3],
        SCALE[-1],
        SCALE[-1],
    ]
    assert scaled(0.0, 1, 0) == SCALE[-1]
    for i in range(101):
        colour = scaled(i / 100, 0, 1)
        assert re.fullmatch("#[0-9a-f]{6}", colour)
        assert contrast(colour, ink(colour)) >= 4.5


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
