"""The tables of a section."""

from __future__ import annotations

from experiments.report.accuracy import extreme, worst
from experiments.report.baselines import Comparison, by_condition, overall
from experiments.report.differences import beyond
from experiments.report.names import percent
from experiments.report.section import ER, HR, NDCG, Metric, Section, share_retained
from experiments.report.statistics import FEWEST, LEVEL
from experiments.report.tables import Column, Table, Value

QUARTILES = ("q1", "q2", "q3", "q4")


def interval(section: Section) -> str:
    """What stands behind ±, for the note of a table."""
    if len(section.seeds) < 2:
        return "One seed, so no interval."
    if len(section.seeds) < FEWEST:
        return f"{len(section.seeds)} seeds: the mean; an interval or a test needs {FEWEST}."
    return f"± is the {percent(LEVEL)} confidence interval (t) over seeds."


def main_table(section: Section) -> Table:
    """One row a strategy: clean accuracy, what attacks leave, exposure, and the test against the best."""
    targeted = [c for c in section.attacks if c.targeted]
    tests = {one.strategy: one for one in overall(section)}
    baseline = next((one.baseline for one in tests.values()), None)
    left = "NDCG@10 retained" if section.quality == share_retained else "NDCG@10 attacked"
    columns = [
        Column("Strategy"),
        Column("HR@10 clean", best="high"),
        Column("NDCG@10 clean", best="high"),
    ]
    if section.attacks:
        columns += [Column(f"{left} mean", ".3f", "high"), Column(f"{left} worst", ".3f", "high")]
    exposed = section.has(ER, targeted)
    if exposed:
        columns += [Column("ER@10 mean", ".3f", "low"), Column("ER@10 worst", ".3f", "low")]
    if section.promotions:
        columns += [Column("ER@10 beyond parity, worst", "+.3f", "low")]
    columns += [
        Column("p (Holm)", "p"),
        Column("cells", "d", extra=True),
        Column("a run", "seconds", extra=True),
    ]
    rows = []
    for s in section.strategies:
        row: list[Value] = [s, section.mean(s, section.cleans, HR), section.mean(s, section.cleans, NDCG)]
        if section.attacks:
            row += [section.mean(s, section.attacks, section.quality), worst(section, s)]
        if exposed:
            row += [section.mean(s, targeted, ER), extreme(section, s, targeted, ER)]
        if section.promotions:
            row += [extreme(section, s, section.promotions, beyond)]
        p: Value = "baseline" if s == baseline else tests[s].p if s in tests else None
        every = (*section.cleans, *section.attacks)
        row += [p, _cells(section, s), section.mean(s, every, "seconds")]
        rows.append(row)
    note = f"{interval(section)} Mean and worst are over the attacks."
    if len(section.seeds) >= FEWEST:
        note += " Bold: better than every other (paired t tests over seeds, p < 0.05 after Holm)."
    if any(one.p is not None for one in tests.values()):
        note += f" p: paired t test of NDCG@10 against {baseline}, the baseline of the highest mean, by Holm."
    return Table("main", "Strategies", section.title, columns, rows, note, _floors(section, len(columns)))


def _cells(section: Section, strategy: str) -> int:
    return sum(len(cells) for (name, _), cells in section.runs.items() if name == strategy)


def _floors(section: Section, width: int) -> list[list[Value]]:
    return [
        [name, found.get("hr@10"), found.get("ndcg@10"), *[None] * (width - 3)]
        for name, found in section.floors.items()
    ]


def runs_table(section: Section) -> Table:
    """One row a strategy and condition."""
    shown: dict[Metric, Column] = {
        "test.hr@10": Column("HR@10"),
        "test.ndcg@10": Column("NDCG@10"),
        "valid.ndcg@10": Column("NDCG@10 validation"),
        "users.ndcg@10": Column("NDCG@10 ± over users", ".4f"),
        share_retained: Column("retained", ".3f"),
        "test.mrr": Column("MRR"),
        "er@10": Column("ER@10", ".3f"),
        "er_group@10": Column("ER@10 in the group", ".3f"),
        "t_ndcg@10": Column("T-NDCG@10", ".3f"),
        "frozen_rows": Column("frozen rows", ".3f"),
        "clipped_rows": Column("clipped rows", ".3f"),
        "rejected": Column("rejected", ".3f"),
        "weight.honest": Column("weight honest", ".5f"),
        "weight.malicious": Column("weight malicious", ".5f"),
        "seconds": Column("time", "seconds"),
    }
    used = {m: c for m, c in shown.items() if (section.has(m) if isinstance(m, str) else section.cleans_of)}
    heads = [Column(n, choose=True) for n in ("Strategy", "Attack")]
    heads += [Column("malicious", "percent", choose=True), Column("seeds", "d")]
    rows: list[list[Value]] = [
        [s, c.attack, c.share, len(section.runs[s, c]), *(section.estimate(s, c, m) for m in used)]
        for c in (*section.cleans, *section.attacks)
        for s in section.strategies
        if (s, c) in section.runs
    ]
    note = interval(section)
    if "users.ndcg@10" in used:
        note += (
            " `± over users` is another interval: half the 95 % bootstrap interval over the users of one "
            "run, mean over seeds. It says how far other users would move NDCG@10, not another seed."
        )
    return Table("runs", "All results", section.title, [*heads, *used.values()], rows, note)


def pivot(section: Section, metric: Metric, title: str, name: str) -> Table | None:
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
        Column("baseline"),
        Column("Δ NDCG@10", "+.4f"),
        Column("p", "p"),
        Column("p (Holm)", "p"),
        Column("Δ ER@10", "+.3f"),
        Column("p of Δ ER@10", "p"),
        Column("pairs", "d"),
    ]
    note = (
        f"Paired t tests over seeds, {len(tests)} comparisons of NDCG@10 corrected after Holm; those of "
        "ER@10 are not. The baseline has the highest mean on these very runs, which makes it harder to beat."
    )
    rows = [_test_row(section, one) for one in tests]
    return Table("tests", "Against the baseline with the highest mean", section.title, columns, rows, note)


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
        "seconds": (Column("time of a run", "seconds", "low"), 1.0),
        "device_updates_per_second": (Column("device updates a second", ".1f", "high"), 1.0),
        "peak_rss_mb": (Column("peak memory", "bytes", "low"), 2**20),
        "bytes_up": (Column("sent by devices", "bytes"), 1.0),
        "bytes_down": (Column("sent to devices", "bytes"), 1.0),
    }
    used = {metric: found for metric, found in shown.items() if section.has(metric)}
    if not used:
        return None
    conditions = (*section.cleans, *section.attacks)
    rows: list[list[Value]] = [
        [s, *(section.mean(s, conditions, m, unit) for m, (_, unit) in used.items())]
        for s in section.strategies
    ]
    columns = [Column("Strategy"), *(column for column, _ in used.values())]
    return Table("cost", "Cost", section.title, columns, rows, f"Mean over attacks. {interval(section)}")
