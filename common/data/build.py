"""From a table of interactions to a :class:`Dataset`: numbers, order, histories."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from common.data.names import Names
from common.data.ragged import Ragged
from common.data.types import Dataset

_INTEGER = re.compile(r"-?[0-9]{1,18}")


def order(ids: Iterable[str]) -> list[str]:
    """Unique ids in catalogue order: by value if all are integers, else by text.

    >>> order(["10", "9", "1"]), order(["10", "9", "b"])
    (['1', '9', '10'], ['10', '9', 'b'])
    """
    unique = set(ids)
    if all(_INTEGER.fullmatch(one) for one in unique):
        return sorted(unique, key=lambda one: (int(one), one))
    return sorted(unique)


def build(
    name: str,
    log: pl.DataFrame,
    titles: Mapping[str, str] | None = None,
    catalogue: Iterable[str] = (),
    source: str = "",
) -> Dataset:
    """Number users and items from 1 and put each history in time order.

    ``log`` has ``user``, ``item`` (text) and perhaps ``time`` (seconds), in file order. The sort by time is
    stable, so equal times keep the file's order; without times the file's order is the order. Repeated
    interactions are kept. ``titles`` maps the log's item ids to titles; ``catalogue`` names items that exist
    even if nobody in the log has them.
    """
    users, items = order(log["user"].unique()), order([*log["item"].unique(), *catalogue])
    numbered = log.select(
        _numbers(log["user"], users).alias("user"),
        _numbers(log["item"], items).alias("item"),
        *(["time"] if "time" in log.columns else []),
    )
    sequences, times, devices = histories(numbered)
    named = titles or {}
    return Dataset(
        name=name,
        num_items=len(items),
        sequences=sequences,
        devices=devices,
        item_ids=Names.of(items),
        user_ids=Names.of(users),
        titles={number: named[one] for number, one in enumerate(items, start=1) if one in named},
        times=times,
        source=source,
    )


def _numbers(column: pl.Series, ordered: list[str]) -> pl.Series:
    key = pl.DataFrame({"id": pl.Series(ordered, dtype=pl.String)}).with_row_index("number", offset=1)
    return column.to_frame("id").join(key, on="id", how="left", maintain_order="left")["number"]


Times = Ragged[np.float64] | None


def histories(log: pl.DataFrame) -> tuple[Ragged[np.int32], Times, NDArray[np.int64]]:
    """Split numbered interactions by user: sequences, times (None without ``time``), users ascending."""
    keys = [key for key in ("user", "time") if key in log.columns]
    ordered = log.sort(keys, maintain_order=True)
    devices, lengths = np.unique(ordered["user"].to_numpy(), return_counts=True)
    items = ordered["item"].cast(pl.Int32).to_numpy(writable=True)
    sequences: Ragged[np.int32] = Ragged.split(items, lengths)
    times: Times = None
    if "time" in log.columns:
        times = Ragged(ordered["time"].to_numpy(writable=True), sequences.starts, sequences.lengths)
    return sequences, times, devices.astype(np.int64)
