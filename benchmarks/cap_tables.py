"""The summary of ``docs/results/cap.md``: what each limit of the cap costs and stops, over the logs tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import polars as pl

from experiments.report.names import percent
from experiments.report.tables import Column, Table, Value

GRIDS = ("cap-ml-100k", "cap-beauty", "cap-lastfm")
MEAN, CLEAN, ADAPTIVE, PARITY = "mean", "control", "adaptive", "parity"
COLUMNS = (
    *(Column("Log"), Column("Malicious"), Column("Limit"), Column("Kept", "percent")),
    *(Column("Kept, validation", "percent"), Column("Adaptive, strongest mode", "percent")),
    *(Column("Parity", "percent"), Column("Parity under the mean", "percent")),
)


def cap_table(folder: Path, name: str) -> Table:
    """``limits``: a row for each log and limit, of grids beside ``folder``. KeyError for another name."""
    if name != "limits":
        raise KeyError(f"no table {name!r}; valid: limits")
    lines = [line for grid in GRIDS for line in _lines(pl.read_csv(folder.parent / grid / "results.csv"))]
    note = (
        "Kept: NDCG@10 on test items without an attack, of the plain mean's. The others are ER@10: the share "
        "of the users who get the target. All are means over seeds."
    )
    return Table("limits", "Limits of the cap", "", COLUMNS, lines, note)


def _lines(runs: pl.DataFrame) -> list[Sequence[Value]]:
    """The rows of one log."""

    def of(rule: str, attack: str, column: str) -> float:
        some = runs.filter((pl.col("aggregator") == rule) & (pl.col("attack") == attack))
        return fmean(some[column])

    modes = {attack for attack in runs["attack"].unique() if attack.partition("(")[0] == ADAPTIVE}
    head = runs["data"][0], percent(float(runs["malicious_share"][0]))
    return [
        [
            *(*head, rule.removeprefix("limit ")),
            *(
                round(of(rule, CLEAN, f"{part}.ndcg@10") / of(MEAN, CLEAN, f"{part}.ndcg@10"), 2)
                for part in ("test", "valid")
            ),
            round(max(of(rule, mode, "er@10") for mode in modes), 3),
            *(round(of(strategy, PARITY, "er@10"), 3) for strategy in (rule, MEAN)),
        ]
        for rule in sorted(set(runs["aggregator"]) - {MEAN})
    ]
