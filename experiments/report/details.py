"""The tables of a section in detail: by attack, by history length, weights, cost, tests."""

from __future__ import annotations

from experiments.report.comparisons import Comparison, by_condition
from experiments.report.contents import interval
from experiments.report.section import ER, Section
from experiments.report.statistics import Estimate
from experiments.report.tables import Column, Table, Value

QUARTILES = ("q1", "q2", "q3", "q4")


def pivot(section: Section, metric: str, title: str, name: str) -> Table | None:
    """Attacks down, strategies across: the table of a paper."""
    conditions = [*section.cleans, *section.attacks]
    if metric == ER:
        conditions = [c for c in conditions if c.clean or c.targeted]
    if not any(section.by_seed(s, c, metric) for s in section.strategies for c in conditions):
        return None
    columns = [Column("Attack"), *(Column(s, ".3f") for s in section.strategies)]
    rows: list[list[Value]] = [
        [section.called(c), *(section.estimate(s, c, metric) for s in section.strategies)] for c in conditions
    ]
    return Table(name, title, section.title, columns, rows, interval(section))


def quartile_table(section: Section) -> Table | None:
    """NDCG@10 by quartile of history length: clean and, averaged, attacked."""
    if not section.has("q1.ndcg@10"):
        return None
    groups = {"clean": section.cleans, "attacked": section.attacks}
    used = {name: found for name, found in groups.items() if found}
    columns = [Column("Strategy")]
    columns += [Column(f"{q} {name}", best="high") for name in used for q in QUARTILES]
    rows: list[list[Value]] = [
        [s, *(section.mean(s, found, f"{q}.ndcg@10") for found in used.values() for q in QUARTILES)]
        for s in section.strategies
    ]
    note = f"q1 has the shortest histories. {interval(section)}"
    return Table("quartiles", "NDCG@10 by history length", section.title, columns, rows, note)


def test_table(section: Section) -> Table | None:
    """Ours against the best baseline of every attack."""
    tests = [one for one in by_condition(section) if one.accuracy is not None]
    if not tests:
        return None
    columns = [
        Column("Attack", choose=True),
        Column("Strategy", choose=True),
        Column("best baseline"),
        Column("Δ NDCG@10", "+.4f"),
        Column("p", "p"),
        Column("p (Holm)", "p"),
        Column("Δ ER@10", "+.3f"),
        Column("p of Δ ER@10", "p"),
        Column("pairs", "d"),
    ]
    note = (
        f"Paired t tests over seeds, {len(tests)} comparisons of NDCG@10 corrected after Holm; those of "
        "ER@10 are not. The baseline is the best by mean on these very runs, which makes it harder to beat."
    )
    rows = [_test_row(section, one) for one in tests]
    return Table("tests", "Against the best baseline", section.title, columns, rows, note)


def _test_row(section: Section, one: Comparison) -> list[Value]:
    name = section.called(one.condition) if one.condition else "all"
    accuracy, exposure = (
        [t.difference, t.p, t.n] if t else [None, None, None] for t in (one.accuracy, one.exposure)
    )
    return [name, one.strategy, one.baseline, *accuracy[:2], one.p, *exposure[:2], accuracy[2]]


def weight_table(section: Section) -> Table | None:
    """Mean audited weights by group, as the audit has them."""
    groups = ("honest", "malicious", *QUARTILES)
    used = [g for g in groups if section.has(f"weight.{g}")]
    if not used:
        return None
    heads = [Column("Strategy", choose=True), Column("Attack", choose=True)]
    rows: list[list[Value]] = []
    for condition in (*section.cleans, *section.attacks):
        for s in section.strategies:
            found = [section.estimate(s, condition, f"weight.{g}") for g in used]
            if any(found):
                rows.append([s, section.called(condition), *found])
    note = f"q1 has the shortest histories. {interval(section)}"
    columns = [*heads, *(Column(g, ".5f") for g in used)]
    return Table("weights", "Mean weight of a device", section.title, columns, rows, note)


def cost_table(section: Section) -> Table | None:
    """Time, memory and bytes by strategy, mean over its runs."""
    shown = {
        "seconds": (Column("seconds a run", ".1f", "low"), 1.0),
        "device_updates_per_second": (Column("device updates a second", ".1f", "high"), 1.0),
        "peak_rss_mb": (Column("peak memory, MB", ".0f", "low"), 1.0),
        "bytes_up": (Column("up, MB", ".1f"), 1e-6),
        "bytes_down": (Column("down, MB", ".1f"), 1e-6),
    }
    used = {metric: found for metric, found in shown.items() if section.has(metric)}
    if not used:
        return None
    conditions = (*section.cleans, *section.attacks)
    rows: list[list[Value]] = [
        [s, *(_times(section.mean(s, conditions, m), unit) for m, (_, unit) in used.items())]
        for s in section.strategies
    ]
    columns = [Column("Strategy"), *(column for column, _ in used.values())]
    return Table("cost", "Cost", section.title, columns, rows, f"Mean over attacks. {interval(section)}")


def _times(found: Estimate | None, unit: float) -> Estimate | None:
    return found and found.times(unit)
