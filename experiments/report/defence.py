"""What the defence did: weights, frozen and clipped rows, rejected replies; and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.report.naming import Condition
from experiments.report.plots import Figure, Ranks, Series
from experiments.report.section import Section
from experiments.report.statistics import Estimate, estimate

WEIGHTS = {
    "weight.malicious": "malicious",
    "weight.q1": "q1 (shortest)",
    "weight.q2": "q2",
    "weight.q3": "q3",
    "weight.q4": "q4 (longest)",
}
WEIGHT_COLOURS = (6, 2, 0, 4, 3)
EMPTY = 3
ROWS = {"frozen_rows": "frozen", "clipped_rows": "clipped"}
COSTS = {
    "seconds": ("seconds", "Seconds a run", 1.0),
    "device_updates_per_second": ("updates a second", "Device updates a second", 1.0),
    "peak_rss_mb": ("memory", "Peak memory, MB", 1.0),
    "bytes_up": ("bytes up", "Uploaded, MB", 1e-6),
    "bytes_down": ("bytes down", "Downloaded, MB", 1e-6),
}


def weights(section: Section) -> Figure | None:
    """Mean weight by group, over the mean weight of the honest devices of the same run."""
    variants = {}
    for condition in (*section.attacks, *section.cleans):
        series = []
        for (column, label), colour in zip(WEIGHTS.items(), WEIGHT_COLOURS, strict=True):
            values = [relative_weight(section, s, condition, column) for s in section.strategies]
            if any(values):
                series.append(Series(label, values, colour))
        if series:
            names, series = _used(section.strategies, series)
            title = section.called(condition)
            variants[title] = Ranks(title, "weight, 1 = mean of the honest", names, series, True, 1.0)
    note = "Quartiles by history length. A rule that gives no weights is not shown."
    return Figure("weights", "Weights by history length", note, variants, "attack") if variants else None


def relative_weight(section: Section, strategy: str, condition: Condition, column: str) -> Estimate | None:
    """Weight of a group over that of the honest devices, seed by seed."""
    honest = section.by_seed(strategy, condition, "weight.honest")
    group = section.by_seed(strategy, condition, column)
    return estimate([value / honest[seed] for seed, value in group.items() if honest.get(seed, 0.0) > 0])


def rows(section: Section) -> Figure | None:
    """Share of the slice's rows that were frozen or clipped, mean over rounds."""
    variants: dict[str, Ranks] = {}
    groups: dict[str, Sequence[Condition]] = {"all attacks": section.attacks, "no attack": section.cleans}
    groups |= {section.called(c): (c,) for c in section.attacks}
    for title, conditions in groups.items():
        series = [
            Series(label, [section.mean(s, conditions, column) for s in section.strategies], colour)
            for colour, (column, label) in enumerate(ROWS.items())
            if section.has(column, conditions)
        ]
        if conditions and series:
            names, series = _used(section.strategies, series, positive=True)
            variants[title] = Ranks(title, "share of the slice's rows", names, series)
    note = (
        "Mean over rounds. Frozen: a row that the aggregate does not move; clipped: a row that was cut. "
        "Strategies with neither are left out."
    )
    return Figure("rows", "Frozen and clipped rows", note, variants, "attack") if variants else None


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
    names, series = _used([n for n, _ in found], [Series("refused", [e for _, e in found])], positive=True)
    plot = Ranks("Rejections", "share of replies refused", names, series)
    note = (
        "Mean over strategies and seeds: admission comes before the rule. "
        "Attacks of which nothing was refused are left out."
    )
    return Figure("rejections", "Replies refused by admission", note, {"": plot})


def cost(section: Section) -> Figure | None:
    """Time, memory and bytes by strategy, mean over all its runs."""
    conditions = (*section.cleans, *section.attacks)
    variants: dict[str, Ranks] = {}
    for column, (choice, title, unit) in COSTS.items():
        values = [_times(section.mean(s, conditions, column), unit) for s in section.strategies]
        if any(values):
            names, series = _used(section.strategies, [Series(title, values)])
            variants[choice] = Ranks(title, title, names, series)
    note = "Mean over attacks and seeds. Seconds depend on what else the machine did."
    return Figure("cost", "Time, memory and bytes", note, variants, "measure") if variants else None


def _times(found: Estimate | None, unit: float) -> Estimate | None:
    return found and found.times(unit)


def _used(
    names: Sequence[str], series: Sequence[Series], positive: bool = False
) -> tuple[list[str], list[Series]]:
    """Without the names that no series has a value (``positive``: one above 0) for.

    A plot in which nothing is positive keeps its first names, to show that there is nothing.
    """
    found = [[one.values[i] for one in series] for i in range(len(names))]
    kept = [
        i for i, row in enumerate(found) if any(e is not None and (e.mean > 0 or not positive) for e in row)
    ]
    kept = kept or list(range(min(EMPTY, len(names))))
    return [names[i] for i in kept], [
        Series(one.name, [one.values[i] for i in kept], one.colour) for one in series
    ]
