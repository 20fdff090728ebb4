"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from common.printable import LONGEST, printable


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The metrics of one run, by split."""
    table = Table(
        title=Text(printable(f"{summary['model']} on {summary['data']}, {summary['aggregator']}")),
        caption=Text(printable(summary["protocol"], LONGEST)),
    )
    names = ("hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")
    for column in ("", *(n.upper() for n in names)):
        table.add_column(column, justify="right" if column else "left")
    for split in ("valid", "test"):
        if split in summary:
            table.add_row(split, *(f"{summary[split][n]:.4f}" for n in names))
    if "er@10" in summary:
        table.add_section()
        targets = ", ".join(map(str, summary["targets"]))
        table.add_row(f"ER@5/10/20 of item {targets}", *(f"{summary[f'er@{k}']:.4f}" for k in (5, 10, 20)))
    return table
