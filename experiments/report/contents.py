"""The tables of a section."""

from __future__ import annotations

from experiments.report.comparisons import overall
from experiments.report.naming import percent
from experiments.report.section import ER, HR, NDCG, RETAINED, Section
from experiments.report.statistics import LEVEL
from experiments.report.tables import Column, Table, Value
from experiments.report.tradeoff import worst


def interval(section: Section) -> str:
    """What stands behind ±, for the note of a table."""
    if len(section.seeds) < 2:
        return "One seed, so no interval."
    return f"± is the {percent(LEVEL)} confidence interval (t) over seeds."


def main_table(section: Section) -> Table:
    """One row a strategy: clean accuracy, what attacks leave, exposure, and the test against the best."""
    targeted = [c for c in section.attacks if c.targeted]
    tests = {one.strategy: one for one in overall(section)}
    baseline = next((one.baseline for one in tests.values()), None)
    left = "NDCG@10 retained" if section.quality == RETAINED else "NDCG@10 attacked"
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
    columns += [
        Column("p (Holm)", "p"),
        Column("cells", "d", extra=True),
        Column("s a run", ".0f", extra=True),
    ]
    rows = []
    for s in section.strategies:
        row: list[Value] = [s, section.mean(s, section.cleans, HR), section.mean(s, section.cleans, NDCG)]
        if section.attacks:
            row += [section.mean(s, section.attacks, section.quality), worst(section, s)]
        if exposed:
            found = [e for c in targeted if (e := section.estimate(s, c, ER)) is not None]
            row += [section.mean(s, targeted, ER), max(found, key=lambda e: e.mean, default=None)]
        p: Value = "baseline" if s == baseline else tests[s].p if s in tests else None
        every = (*section.cleans, *section.attacks)
        row += [p, _cells(section, s), section.mean(s, every, "seconds")]
        rows.append(row)
    note = f"{interval(section)} Mean and worst are over the attacks."
    if any(one.p is not None for one in tests.values()):
        note += f" p: paired t test of NDCG@10 against {baseline}, the best baseline, corrected after Holm."
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
    shown = {
        "test.hr@10": Column("HR@10"),
        "test.ndcg@10": Column("NDCG@10"),
        RETAINED: Column("retained", ".3f"),
        "test.mrr": Column("MRR"),
        "er@10": Column("ER@10", ".3f"),
        "t_ndcg@10": Column("T-NDCG@10", ".3f"),
        "frozen_rows": Column("frozen rows", ".3f"),
        "clipped_rows": Column("clipped rows", ".3f"),
        "rejected": Column("rejected", ".3f"),
        "weight.honest": Column("weight honest", ".5f"),
        "weight.malicious": Column("weight malicious", ".5f"),
        "seconds": Column("seconds", ".0f"),
    }
    used = {m: c for m, c in shown.items() if section.has(m) or (m == RETAINED and section.clean)}
    heads = [Column(n, choose=True) for n in ("Strategy", "Attack")]
    heads += [Column("malicious", "percent", choose=True), Column("seeds", "d")]
    rows: list[list[Value]] = [
        [s, c.attack, c.share, len(section.runs[s, c]), *(section.estimate(s, c, m) for m in used)]
        for c in (*section.cleans, *section.attacks)
        for s in section.strategies
        if (s, c) in section.runs
    ]
    return Table("runs", "All results", section.title, [*heads, *used.values()], rows, interval(section))
