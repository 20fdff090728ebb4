"""A Markdown table of a grid's results.

``python -m benchmarks.pivot DIR [--rows attack] [--columns malicious_share] [--values test.ndcg@10 er@10]
[--where COLUMN=VALUE …] [--share-of control] [--interval]``: every entry is the mean over seeds, of each seed
the mean of its cells that fall there: they are not independent. ``--interval``: ± half the 95 % t interval
over the seeds where there are several. ``--share-of control``: metrics in per cent of that row's mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.interval import mean_and_half_width

PERCENT = ("er@", "malicious_share", "frozen_rows", "rejected")
"""Columns shown in per cent, by how their names begin."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", default="attack")
    parser.add_argument("--columns", default="malicious_share")
    parser.add_argument("--values", nargs="+", default=["test.ndcg@10", "er@10"])
    parser.add_argument("--share-of", default="", metavar="ROW", help="the row that --values are divided by")
    told = "mean ± half the 95 %% interval over seeds"
    parser.add_argument("--interval", "--spread", action="store_true", help=told)
    parser.add_argument("--where", nargs="+", default=[], metavar="COLUMN=VALUE", help="these cells alone")
    args = parser.parse_args()
    found = only(pl.read_csv(args.folder / "results.csv", infer_schema_length=None), args.where)
    print(table(found, args.rows, args.columns, args.values, args.share_of, args.interval))


def only(found: pl.DataFrame, conditions: Sequence[str]) -> pl.DataFrame:
    """The cells whose COLUMN reads VALUE, for each COLUMN=VALUE. Raises ValueError where there is no such."""
    for condition in conditions:
        column, _, value = condition.partition("=")
        if column not in found.columns:
            raise ValueError(f"--where {condition}: no column {column!r}; valid: {', '.join(found.columns)}")
        present = found[column].cast(pl.String).unique(maintain_order=True).to_list()
        if value not in present:
            raise ValueError(f"--where {condition}: valid: {', '.join(map(str, present))}")
        found = found.filter(pl.col(column).cast(pl.String) == value)
    return found


def table(
    found: pl.DataFrame,
    rows: str,
    columns: str,
    values: Sequence[str],
    share_of: str = "",
    interval: bool = False,
) -> str:
    """The table as Markdown, rows and columns in the order of the grid; failed cells do not count."""
    done = found.filter(pl.col("status") == "done")
    heads = done[columns].unique(maintain_order=True).to_list()
    lines = [
        f"| {rows} | "
        + " | ".join(f"{value} at {_show(columns, h)}" for value in values for h in heads)
        + " |"
    ]
    lines.append("|---" * (1 + len(values) * len(heads)) + "|")
    for row in done[rows].unique(maintain_order=True).to_list():
        cells = []
        for value in values:
            for head in heads:
                entry, percent = _at(done, {rows: row, columns: head}, value), value.startswith(PERCENT)
                if share_of and not percent:
                    whole = mean_and_half_width(_at(done, {rows: share_of, columns: head}, value))[0]
                    entry, percent = [one / whole for one in entry], True
                cells.append(_entry(entry, percent, interval))
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _at(done: pl.DataFrame, place: dict[str, Any], value: str) -> list[float]:
    """The mean of each seed."""
    chosen = done.filter([pl.col(name) == wanted for name, wanted in place.items()]).drop_nulls(value)
    means = chosen.group_by("seed", maintain_order=True).agg(
        pl.col(value).cast(pl.Float64).mean().alias("mean")
    )
    return means["mean"].to_list()


def _entry(found: Sequence[float], percent: bool, interval: bool) -> str:
    if not found:
        return "–"
    mean, half = mean_and_half_width(found)
    text = f"{100 * mean:.1f} %" if percent else f"{mean:.4f}"
    if interval and len(found) > 1:
        text += f" ± {100 * half:.1f}" if percent else f" ± {half:.4f}"
    return text


def _show(column: str, head: Any) -> str:
    return f"{head:.0%}" if column.startswith(PERCENT) else str(head)


if __name__ == "__main__":
    main()
