"""Learning curves: a metric on validation by round, mean and band over seeds."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from experiments.report.look import COLOURS
from experiments.report.naming import PLAIN, Condition
from experiments.report.plots import Figure, Line, Lines
from experiments.report.reading import Cell
from experiments.report.section import Section
from experiments.report.statistics import Estimate, estimate

Curve = Mapping[int, float]
SHOWN = {"ndcg@10": "NDCG@10", "er@10": "ER@10"}


@dataclass
class Curves:
    """``cells/<cell>/metrics.jsonl`` of the grid, read once; ``lost`` counts files missing or damaged."""

    folder: Path
    lost: int = 0
    _read: dict[str, dict[str, Curve]] = field(default_factory=dict)

    def every(self, cell: str) -> int | None:
        """The cell's ``eval.every``; None where its config.yaml does not say."""
        try:
            found = yaml.safe_load((self.folder / "cells" / cell / "config.yaml").read_text(encoding="utf-8"))
            return int(found["eval"]["every"])
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
            return None

    def of(self, cell: str) -> dict[str, Curve]:
        """Metric -> round -> value on validation."""
        if cell not in self._read:
            try:
                text = (self.folder / "cells" / cell / "metrics.jsonl").read_text(encoding="utf-8")
                self._read[cell] = _curves(text)
            except (OSError, ValueError, KeyError, TypeError):
                self.lost += 1
                self._read[cell] = {}
        return self._read[cell]


def _curves(text: str) -> dict[str, Curve]:
    found: dict[str, dict[int, float]] = {name: {} for name in SHOWN}
    for line in map(json.loads, filter(None, text.splitlines())):
        if line.get("split") == "valid":
            for name in SHOWN:
                if name in line:
                    found[name][int(line["round"])] = float(line[name])
    return {name: curve for name, curve in found.items() if curve}


def learning(section: Section, curves: Curves) -> list[Figure]:
    """One figure a metric, to choose the condition from; where no run has two points, one that says why."""
    colour = palette(section)
    figures = []
    for metric, title in SHOWN.items():
        conditions = [
            c for c in (*section.attacks, *section.cleans) if metric == "ndcg@10" or c.targeted or c.clean
        ]
        variants = {
            section.called(c): drawn
            for c in conditions
            if _seen(drawn := _plot(section, c, curves, metric, f"{title} on validation", colour))
        }
        if variants:
            note = (
                "Mean over seeds, band: 95 % confidence interval. Coloured: ours, the plain mean and the "
                "best; the others in grey."
            )
            name = f"curves-{metric.partition('@')[0]}"
            figures.append(Figure(name, f"Learning curves: {title}", note, variants, "attack"))
    measured = [cell for cell in section.cells if curves.of(cell.id)]
    if not figures and measured:
        figures.append(Figure("curves-ndcg", "Learning curves", _why_none(measured, curves), {}))
    return figures


def _seen(plot: Lines) -> bool:
    """Whether there is a line: it takes two rounds."""
    return any(len(line.x) > 1 for line in plot.lines)


def _why_none(cells: Sequence[Cell], curves: Curves) -> str:
    """In one line, with the setting to change."""
    values = sorted({every for cell in cells if (every := curves.every(cell.id)) is not None})
    told = "eval.every" + (f" = {', '.join(map(str, values))}" if values else "")
    how = "set it to a number of rounds" if values == [0] else "set it to fewer rounds"
    return f"None: with {told} each run was validated once, at its end; {how} to have curves."


def palette(section: Section) -> dict[str, int]:
    """Colours for as many strategies as can be told apart: ours, the plain mean, then the best."""
    first = [*filter(section.ours, section.strategies), *(s for s in section.strategies if s == PLAIN)]
    chosen = list(dict.fromkeys([*first, *section.strategies]))[: len(COLOURS)]
    return {strategy: number for number, strategy in enumerate(chosen)}


def _plot(
    section: Section, condition: Condition, curves: Curves, metric: str, y: str, colour: Mapping[str, int]
) -> Lines:
    lines = []
    for strategy in section.strategies:
        cells = section.runs.get((strategy, condition), {}).values()
        points = bands([found[metric] for cell in cells if metric in (found := curves.of(cell.id))])
        if points:
            lines.append(Line(strategy, list(points), list(points.values()), colour.get(strategy)))
    order = sorted(lines, key=lambda line: (line.colour is not None, -(line.colour or 0)))
    return Lines(section.called(condition), "round", y, order)


def bands(curves: list[Curve]) -> dict[int, Estimate]:
    """Mean and interval by round, of rounds that every curve has: a seed that ends early ends the line."""
    values: dict[int, list[float]] = defaultdict(list)
    for curve in curves:
        for at, value in curve.items():
            values[at].append(value)
    found = {at: estimate(v) for at, v in sorted(values.items()) if len(v) == len(curves)}
    return {at: point for at, point in found.items() if point is not None}
