"""The table of ``docs/results/rules.md``: what it costs to tell a rule of more attackers than there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from experiments.report.names import percent
from experiments.report.statistics import Estimate, estimate
from experiments.report.tables import Column, Table, Value

MEAN, TOLD, NDCG = "mean", "strategy.byzantine", "test.ndcg@10"


def byzantine_table(folder: Path, name: str) -> Table:
    """``cost``: a row for each rule, what it keeps of the mean's accuracy by the number it is told.

    KeyError for another name.
    """
    if name != "cost":
        raise KeyError(f"no table {name!r}; valid: cost")
    runs = pl.read_csv(folder / "results.csv", infer_schema_length=None)
    told = sorted(runs[TOLD].unique())
    rules = [rule for rule in runs["aggregator"].unique(maintain_order=True) if rule != MEAN]
    lines = [[rule, *(kept(runs, rule, share) for share in told), cost(runs, rule, told)] for rule in rules]
    lines.sort(key=lambda line: -line[-1].mean if isinstance(line[-1], Estimate) else 0.0)
    columns = (
        Column("Rule"),
        *(Column(f"told {percent(share)}", ".2f") for share in told),
        Column(f"{percent(told[-1])} beside {percent(told[0])}", ".2f"),
    )
    note = (
        "NDCG@10 on test items, of the plain mean's; the last column is of the same rule's with the smallest "
        "number. Nobody is malicious. Seed by seed."
    )
    return Table("cost", "What a larger number costs", "", columns, lines, note)


def kept(runs: pl.DataFrame, rule: str, told: float) -> Estimate | None:
    """NDCG@10 of ``rule`` as a share of the mean's."""
    return ratio(by_seed(runs, rule, told), by_seed(runs, MEAN, told))


def cost(runs: pl.DataFrame, rule: str, told: Sequence[float]) -> Value:
    """NDCG@10 of ``rule`` told the largest number, as a share of what it has with the smallest."""
    return ratio(by_seed(runs, rule, told[-1]), by_seed(runs, rule, told[0]))


def ratio(a: dict[int, float], b: dict[int, float]) -> Estimate | None:
    """a/b of the seeds that both have."""
    return estimate({seed: a[seed] / b[seed] for seed in a if seed in b})


def by_seed(runs: pl.DataFrame, rule: str, told: float) -> dict[int, float]:
    """Seed -> NDCG@10."""
    some = runs.filter((pl.col("aggregator") == rule) & (pl.col(TOLD) == told))
    return dict(zip(some["seed"], some[NDCG], strict=True))
