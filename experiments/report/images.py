"""The figures of a page as image files, on white: drawn by Plotly in a browser that Kaleido starts."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

import plotly.graph_objects as go

from common.errors import RunError
from experiments.report.drawing.frame import LETTER, LINE, literal

FORMATS = ("png", "svg")
WIDTH, LEAST = 760, 460
"""Pixels across an image: of one that has no width of its own, and at least."""
SHARP = 2
"""Dots of a PNG to a pixel, each way."""


class ImagesError(RunError):
    """Image files need Kaleido and a browser that it can start."""


def save(figures: Iterable[tuple[go.Figure, Path, str]]) -> list[Path]:
    """Write each (figure, path without ending, title) as PNG and SVG, on white; returns the paths.

    The same figure gives the same SVG. Raises ImagesError where Kaleido or a browser for it is not installed.
    """
    try:
        from choreographer.browsers.chromium import ChromeNotFoundError
        from kaleido import PageGenerator, write_fig_from_object_sync
    except ImportError as error:
        told = f"no image files: {error.name} is missing; pip install 'fedsieve[report]'"
        raise ImagesError(told) from error
    wanted = []
    for figure, stem, title in figures:
        stem.parent.mkdir(parents=True, exist_ok=True)
        drawn = on_white(figure, title).to_dict()
        wanted += [
            {
                "fig": drawn,
                "path": stem.with_name(f"{stem.name}.{form}"),
                "opts": {"format": form, "scale": SHARP if form == "png" else 1},
            }
            for form in FORMATS
        ]
    page = PageGenerator(mathjax=False)  # the default asks the network for it
    try:
        write_fig_from_object_sync(wanted, cancel_on_error=True, kopts={"page_generator": page})
    except ChromeNotFoundError as error:
        told = "no image files: no Chrome or Chromium is found; install one, or --no-images"
        raise ImagesError(told) from error
    paths = [Path(str(one["path"])) for one in wanted]
    for path in paths:
        if path.suffix == ".svg":
            path.write_text(_settled(path.read_text(encoding="utf-8")), encoding="utf-8")
    return paths


def on_white(figure: go.Figure, title: str) -> go.Figure:
    """A copy for paper, ``title`` above it."""
    own = figure.layout.width or 0
    width = max(own, LEAST) if own else max(WIDTH, figure.layout.meta["least"])
    told = textwrap.wrap(title, (width - 20) // (LETTER + 1))
    above = LINE * len(told) + 10
    height = figure.layout.height + above
    text = {"text": "<br>".join(map(literal, told)), "font": {"size": 13}, "x": 0.5}
    return go.Figure(figure).update_layout(
        width=width,
        height=height,
        margin_t=figure.layout.margin.t + above,
        margin_r=figure.layout.margin.r + (width - own if own else 0),
        title={**text, "yref": "container", "y": 1 - above / 2 / height, "yanchor": "middle"},
        paper_bgcolor="#ffffff",
    )


def _settled(svg: str) -> str:
    """With fixed numbers for those that Plotly draws by lot for a figure and its traces."""
    found = re.search(r'id="(?:top)?defs-([0-9a-f]{6})"', svg)
    svg = svg.replace(found[1], "000000") if found else svg
    return re.sub(r'(class="trace \w+ trace)[0-9a-f]{6}"', r'\g<1>000000"', svg)
