"""What a plot shows, free of any drawing library: the page and the image files draw from the same records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from experiments.report.statistics import Estimate

Row = Sequence[Estimate | None]


@dataclass(frozen=True)
class Heatmap:
    """``cells[r][c]``; colour runs from ``worst`` (orange) to ``best`` (blue), beyond them it stays."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Row]
    worst: float
    best: float
    strong: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Line:
    """A mean over seeds by round; ``colour`` indexes the palette, None draws it thin and grey."""

    name: str
    x: Sequence[float]
    points: Sequence[Estimate]
    colour: int | None = None


@dataclass(frozen=True)
class Lines:
    title: str
    x: str
    y: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Point:
    """``front``: no other point beats it in both. ``strong``: ours. ``named``: with its name beside it."""

    name: str
    x: Estimate
    y: Estimate
    front: bool = False
    strong: bool = False
    named: bool = True


@dataclass(frozen=True)
class Scatter:
    """Better is to the right and up; ``marks`` are vertical lines with a name."""

    title: str
    x: str
    y: str
    points: Sequence[Point]
    marks: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """``apart``: drawn with a sign of its own, since it is of another kind than the others."""

    name: str
    values: Row
    colour: int = 0
    apart: bool = False


@dataclass(frozen=True)
class Ranks:
    """Names down the side, one mark a series and name: bars, or dots where 0 is no natural start."""

    title: str
    x: str
    names: Sequence[str]
    series: Sequence[Series]
    dots: bool = False
    mark: float | None = None


@dataclass(frozen=True)
class Panels:
    """Rankings of the same names side by side, each under its own title."""

    title: str
    panels: Sequence[Ranks]


Plot = Heatmap | Lines | Scatter | Ranks | Panels


@dataclass(frozen=True)
class Figure:
    """One place on the page: a plot, or several to choose from.

    Without variants there is nothing to draw, and ``note`` says why.
    """

    name: str
    title: str
    note: str
    variants: Mapping[str, Plot]
    choice: str = ""
