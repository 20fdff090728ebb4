"""What the defence did: weights by history length, frozen and clipped rows, rejections; and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from experiments.report.names import Condition
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

ROWS = {"frozen_rows": "frozen", "clipped_rows": "clipped"}
REFUSED = "Replies refused by admission"
COSTS = {
    "seconds": ("seconds", "Seconds a run", 1.0),
    "device_updates_per_second": ("updates a second", "Device updates a second", 1.0),
    "peak_rss_mb": ("memory", "Peak memory, MiB", 1.0),
    "bytes_up": ("bytes up", "Uploaded, MB", 1e-6),
    "bytes_down": ("bytes down", "Downloaded, MB", 1e-6),
}


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
    return estimate({s: value / honest[s] for s, value in group.items() if honest.get(s, 0.0) > 0})


def rows(section: Section) -> Figure | None:
    """Share of the slice's rows that were frozen or clipped, mean over rounds."""
    if not any(section.has(column) for column in ROWS):
        return None
    variants: dict[str, Ranks] = {}
    groups: dict[str, Sequence[Condition]] = {"all attacks": section.attacks, "no attack": section.cleans}
    groups |= {section.called(c): (c,) for c in section.attacks}
    for title, conditions in groups.items():
        series = [
            Series(label, [section.mean(s, conditions, column) for s in section.strategies], colour)
            for colour, (column, label) in enumerate(ROWS.items())
            if section.has(column, conditions)
        ]
        names, series = _positive(section.strategies, series)
        if names:
            variants[title] = Ranks(title, "share of the slice's rows", names, series)
    note = (
        "Mean over rounds. Frozen: a row that the aggregate does not move; clipped: a row that was cut. "
        "Strategies with neither are left out."
    )
    if not variants:
        note = "None: no strategy froze or clipped a row."
    return Figure("rows", "Frozen and clipped rows", note, variants, "attack")


def rejections(section: Section) -> Figure | None:
    """Share of replies that admission refused, by attack: it works before the rule, so rules are averaged."""
    conditions = [c for c in (*section.cleans, *section.attacks) if section.has("rejected", [c])]
    if not conditions:
        return None
    found: list[tuple[str, Estimate | None]] = []
    for condition in conditions:
        values = [section.estimate(s, condition, "rejected") for s in section.strategies]
        means = [e.mean for e in values if e is not None]
        found.append((section.called(condition), Estimate(sum(means) / len(means), None, len(means))))
    found.sort(key=lambda one: -(one[1].mean if one[1] else 0))
    names, series = _positive([n for n, _ in found], [Series("refused", [e for _, e in found])])
    if not names:
        return Figure("rejections", REFUSED, "None: every reply of every run was admitted.", {})
    plot = Ranks("Rejections", "share of replies refused", names, series)
    note = (
        "Mean over strategies and seeds: admission comes before the rule. "
        "Attacks of which nothing was refused are left out."
    )
    return Figure("rejections", REFUSED, note, {"": plot})


def cost(section: Section) -> Figure | None:
    """Time, memory and bytes by strategy, mean over all its runs."""
    conditions = (*section.cleans, *section.attacks)
    variants: dict[str, Ranks] = {}
    for column, (choice, title, unit) in COSTS.items():
        values = [section.mean(s, conditions, column, unit) for s in section.strategies]
        names, series = _positive(section.strategies, [Series(title, values)])
        if names:
            variants[choice] = Ranks(title, title, names, series)
    note = "Mean over attacks and seeds. Seconds depend on what else the machine did."
    return Figure("cost", "Time, memory and bytes", note, variants, "measure") if variants else None


def _positive(names: Sequence[str], series: Sequence[Series]) -> tuple[list[str], list[Series]]:
    """Without the names whose every bar would have no length."""
    found = [[one.values[i] for one in series] for i in range(len(names))]
    kept = [i for i, row in enumerate(found) if any(e is not None and e.mean > 0 for e in row)]
    return [names[i] for i in kept], [
        Series(one.name, [one.values[i] for i in kept], one.colour) for one in series
    ]
