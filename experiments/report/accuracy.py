"""What is left of accuracy under attack: maps, the trade-off with its Pareto front, and learning curves."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from experiments.report.differences import beyond
from experiments.report.drawing.colours import COLOURS
from experiments.report.names import Condition, percent
from experiments.report.plots import Figure, Heatmap, Line, Lines, Point, Scatter
from experiments.report.reading import Cell
from experiments.report.section import ER, NDCG, PLAIN, Metric, Section, share_retained
from experiments.report.statistics import FEWEST, Estimate, estimate, pareto

Measure = Callable[[str], Estimate | None]
Curve = Mapping[int, float]
SHOWN = {"ndcg@10": "NDCG@10", "er@10": "ER@10"}


def retained(section: Section) -> Figure | None:
    """NDCG@10 as a share of the clean plain mean; NDCG@10 itself where the grid has no such run."""
    metric = section.quality
    if metric == share_retained:
        title = "NDCG@10 retained"
        note = "Share of the clean run's NDCG@10: same data, model and seed, plain mean, no attack. "
        best = 1.0
    else:
        title = "NDCG@10"
        note = "The grid has no clean run of the plain mean, so this is NDCG@10 itself. "
        conditions = (*section.cleans, *section.attacks)
        found = [section.estimate(s, c, metric) for s in section.strategies for c in conditions]
        best = max((e.mean for e in found if e is not None), default=0.0) or 1.0
    note += "Blue is good. Best strategy on top, hardest attack on the left."
    return heatmaps(section, "retained", title, note, metric, (0.0, best), lambda _: True)


def exposure(section: Section) -> Figure | None:
    """ER@10 of the target items under the attacks that promote one, and without an attack."""
    note = (
        "Share of honest users without the target in their history who get it in their top 10. Blue is good."
    )
    return heatmaps(section, "exposure", "ER@10", note, ER, (1.0, 0.0), lambda c: c.targeted)


def heatmaps(
    section: Section,
    name: str,
    title: str,
    note: str,
    metric: Metric,
    ends: tuple[float, float],
    shown: Callable[[Condition], bool],
) -> Figure | None:
    """A metric by strategy and attack, a map a share."""
    variants = {}
    for share in section.shares or (None,):
        attacks = [c for c in section.attacks if c.share == share and shown(c)]
        if metric in (ER, beyond):  # the hardest first by what this map shows
            attacks.sort(key=lambda c: -_mean(section, c, metric))
        if section.attacks and not attacks:
            continue
        columns = attacks if metric == beyond else [*_clean(section, share), *attacks]
        cells = [[section.estimate(s, c, metric) for c in columns] for s in section.strategies]
        used = [j for j in range(len(columns)) if any(row[j] is not None for row in cells)]
        if used:
            variants["" if share is None else percent(share)] = Heatmap(
                title,
                section.strategies,
                [columns[j].attack for j in used],
                [[row[j] for j in used] for row in cells],
                *ends,
                strong=frozenset(filter(section.ours, section.strategies)),
            )
    return Figure(name, title, note, variants, "malicious share") if variants else None


def _clean(section: Section, share: float | None) -> list[Condition]:
    """The clean conditions of that share (one for each choice of targets), else the first."""
    return [c for c in section.cleans if c.share == share] or list(section.cleans[:1])


def _mean(section: Section, condition: Condition, metric: Metric) -> float:
    found = [v for s in section.strategies for v in section.by_seed(s, condition, metric).values()]
    return sum(found) / len(found) if found else 0.0


def tradeoff(section: Section) -> Figure | None:
    """Three measures of robustness to choose from; None without attacks or without clean runs."""
    targeted = [c for c in section.attacks if c.targeted]
    name = "NDCG@10 retained" if section.quality == share_retained else "NDCG@10"
    measures: dict[str, tuple[str, Measure]] = {
        "mean over attacks": (
            f"{name}, mean over attacks",
            lambda s: section.mean(s, section.attacks, section.quality),
        ),
        "worst attack": (f"{name}, worst attack", lambda s: worst(section, s)),
        "exposure": (
            "1 − ER@10, mean over targeted attacks",
            lambda s: _turned(section.mean(s, targeted, ER)),
        ),
    }
    variants = {
        choice: plot
        for choice, (title, measure) in measures.items()
        if (plot := _scatter(section, title, measure)).points
    }
    note = (
        "To the right: accurate without an attack; up: robust. The line joins the strategies that no other "
        "beats in both. Dotted: floors that a recommender has to beat."
    )
    return Figure("tradeoff", "Accuracy and robustness", note, variants, "robustness") if variants else None


def worst(section: Section, strategy: str) -> Estimate | None:
    """The attack that leaves least of the quality."""
    return extreme(section, strategy, section.attacks, section.quality, lowest=True)


def extreme(
    section: Section, strategy: str, conditions: Sequence[Condition], metric: Metric, lowest: bool = False
) -> Estimate | None:
    """The highest or lowest over the conditions that were measured, which it names (``over``)."""
    found = {c: e for c in conditions if (e := section.estimate(strategy, c, metric)) is not None}
    last = (min if lowest else max)(found.values(), key=lambda e: e.mean, default=None)
    return None if last is None else replace(last, over=frozenset(found))


def _scatter(section: Section, title: str, measure: Measure) -> Scatter:
    found = [(s, section.mean(s, section.cleans, NDCG), measure(s)) for s in section.strategies]
    both = [(s, x, y) for s, x, y in found if x is not None and y is not None]
    front = pareto([(x.mean, y.mean) for _, x, y in both])
    points = [
        Point(s, x, y, ahead, ours := section.ours(s), ahead or ours or s == PLAIN)  # all would overlap
        for (s, x, y), ahead in zip(both, front, strict=True)
    ]
    marks = {name: m["ndcg@10"] for name, m in section.floors.items() if "ndcg@10" in m}
    return Scatter(title, "NDCG@10 without an attack", title, points, marks)


def _turned(found: Estimate | None) -> Estimate | None:
    return found and Estimate(1 - found.mean, found.half, found.n, {s: 1 - v for s, v in found.seeds.items()})


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
                f"Mean over seeds; band: 95 % confidence interval, from {FEWEST} seeds on; else a thin line "
                "a seed. Coloured: ours, the plain mean and the highest means; the others in grey."
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
    section: Section, condition: Condition, curves: Curves, metric: Metric, y: str, colour: Mapping[str, int]
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
    found = {at: estimate(dict(enumerate(v))) for at, v in sorted(values.items()) if len(v) == len(curves)}
    return {at: point for at, point in found.items() if point is not None}
