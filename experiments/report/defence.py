"""What the defence did: frozen and clipped rows, rejected replies; and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.report.naming import Condition
from experiments.report.plots import Figure, Ranks, Series
from experiments.report.section import Section
from experiments.report.statistics import Estimate

ROWS = {"frozen_rows": "frozen", "clipped_rows": "clipped"}
REFUSED = "Replies refused by admission"
COSTS = {
    "seconds": ("seconds", "Seconds a run", 1.0),
    "device_updates_per_second": ("updates a second", "Device updates a second", 1.0),
    "peak_rss_mb": ("memory", "Peak memory, MB", 1.0),
    "bytes_up": ("bytes up", "Uploaded, MB", 1e-6),
    "bytes_down": ("bytes down", "Downloaded, MB", 1e-6),
}


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
        values = [_times(section.mean(s, conditions, column), unit) for s in section.strategies]
        names, series = _positive(section.strategies, [Series(title, values)])
        if names:
            variants[choice] = Ranks(title, title, names, series)
    note = "Mean over attacks and seeds. Seconds depend on what else the machine did."
    return Figure("cost", "Time, memory and bytes", note, variants, "measure") if variants else None


def _times(found: Estimate | None, unit: float) -> Estimate | None:
    return found and found.times(unit)


def _positive(names: Sequence[str], series: Sequence[Series]) -> tuple[list[str], list[Series]]:
    """Without the names whose every bar would have no length."""
    found = [[one.values[i] for one in series] for i in range(len(names))]
    kept = [i for i, row in enumerate(found) if any(e is not None and e.mean > 0 for e in row)]
    return [names[i] for i in kept], [
        Series(one.name, [one.values[i] for i in kept], one.colour) for one in series
    ]
