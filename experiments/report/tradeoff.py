"""Accuracy without an attack against robustness under attacks, with the Pareto front."""

from __future__ import annotations

from collections.abc import Callable

from experiments.report.naming import PLAIN
from experiments.report.plots import Figure, Point, Scatter
from experiments.report.section import ER, NDCG, RETAINED, Section
from experiments.report.statistics import Estimate, pareto

Measure = Callable[[str], Estimate | None]


def tradeoff(section: Section) -> Figure | None:
    """Three measures of robustness to choose from; None without attacks or without clean runs."""
    targeted = [c for c in section.attacks if c.targeted]
    name = "NDCG@10 retained" if section.quality == RETAINED else "NDCG@10"
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
    found = [section.estimate(strategy, c, section.quality) for c in section.attacks]
    return min((e for e in found if e is not None), key=lambda e: e.mean, default=None)


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
    return found and Estimate(1 - found.mean, found.half, found.n)
