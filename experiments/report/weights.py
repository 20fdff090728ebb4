"""The weights that honest devices got, by history length, beside those of the malicious ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from experiments.report.naming import Condition
from experiments.report.plots import Figure, Panels, Plot, Ranks, Series
from experiments.report.section import Section
from experiments.report.statistics import Estimate, estimate

WEIGHTS = {
    "weight.malicious": "malicious",
    "weight.q1": "honest q1 (shortest)",
    "weight.q2": "honest q2",
    "weight.q3": "honest q3",
    "weight.q4": "honest q4 (longest)",
}
WEIGHT_COLOURS = (6, 2, 0, 4, 3)
SIDE_BY_SIDE = 3
COUNTS = ("no", "one", "two", "three")


def weights(section: Section) -> Figure | None:
    """Mean weight by group, over the mean weight of the honest devices of the same run.

    The hardest attacks at the largest share first (of those whose devices were weighed), side by side; then
    every condition alone.
    """
    found = {c: plot for c in (*section.attacks, *section.cleans) if (plot := _plot(section, c)) is not None}
    if not found:
        return None
    attacks = [c for c, plot in found.items() if not c.clean and plot.series[0].apart]
    largest = [c for c in attacks if c.share == attacks[0].share]
    variants: dict[str, Plot] = {}
    if len(largest) > 1:
        hardest = largest[:SIDE_BY_SIDE]
        title = f"the {COUNTS[len(hardest)]} hardest attacks"
        variants[title] = Panels(title, _alike([found[c] for c in hardest]))
    variants |= {plot.title: plot for plot in found.values()}
    note = (
        "Honest devices by quartile of history length beside the malicious ones; 1 is the mean weight of the "
        "honest. A rule that gives no weights is not shown."
    )
    return Figure("weights", "Weights by history length", note, variants, "attack")


def _plot(section: Section, condition: Condition) -> Ranks | None:
    """All groups that were weighed under ``condition``, and the strategies that weigh."""
    series = []
    for (column, label), colour in zip(WEIGHTS.items(), WEIGHT_COLOURS, strict=True):
        values = [relative_weight(section, s, condition, column) for s in section.strategies]
        if any(values):
            series.append(Series(label, values, colour, apart=column == "weight.malicious"))
    if not series:
        return None
    used = [i for i in range(len(section.strategies)) if any(one.values[i] for one in series)]
    return _of(section.called(condition), [section.strategies[i] for i in used], series, used)


def _of(title: str, names: Sequence[str], series: Sequence[Series], used: Sequence[int]) -> Ranks:
    kept = [replace(one, values=[one.values[i] for i in used]) for one in series]
    return Ranks(title, "weight, 1 = mean of the honest", names, kept, dots=True, mark=1.0)


def _alike(plots: Sequence[Ranks]) -> list[Ranks]:
    """With the same names in every one, so that a strategy stands on one line across."""
    names = list(dict.fromkeys(name for plot in plots for name in plot.names))
    found = []
    for plot in plots:
        places = [plot.names.index(name) if name in plot.names else None for name in names]
        series = [
            replace(one, values=[None if i is None else one.values[i] for i in places]) for one in plot.series
        ]
        found.append(replace(plot, names=names, series=series))
    return found


def relative_weight(section: Section, strategy: str, condition: Condition, column: str) -> Estimate | None:
    """Weight of a group over that of the honest devices, seed by seed."""
    honest = section.by_seed(strategy, condition, "weight.honest")
    group = section.by_seed(strategy, condition, column)
    return estimate([value / honest[seed] for seed, value in group.items() if honest.get(seed, 0.0) > 0])
