"""``fedsieve data encode``: a node's log from its own ids, by the catalogue that all nodes share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from common.data import read_catalogue
from common.data.digest import catalogue_digest
from common.data.names import Names, Titles
from common.data.ragged import Ragged
from common.data.shards import CATALOGUE, write_log
from common.data.types import Dataset
from common.errors import ConfigError, DataError
from common.printable import counted, printable
from experiments.log_asked import Settings, opened

UNKNOWN = ("drop", "refuse")
SHOWN = 5
"""Ids of unknown items that a message names."""


@dataclass(frozen=True)
class Encoded:
    """A log in numbers of the catalogue, and what had to go: interactions, the ids they had, devices."""

    log: Dataset
    dropped: int
    unknown: list[str]
    emptied: int


def encode(data: Dataset, ids: Names, titles: Titles, first_device: int = 1) -> Encoded:
    """``data`` with the item numbers that ``ids`` give; devices are numbered from ``first_device``.

    Interactions with items that ``ids`` lack are left out, and devices that have no others.
    Raises DataError where nothing is left.
    """
    number = {text: place for place, text in enumerate(ids, 1)}
    new = np.array([0, *(number.get(text, 0) for text in data.item_ids)], dtype=np.int32)  # [N + 1]
    items = new[data.sequences.flat()]
    kept = items > 0
    owner = np.repeat(np.arange(len(data)), data.sequences.lengths)
    left = np.bincount(owner[kept], minlength=len(data))  # [n]
    if not kept.any():
        raise DataError(data.source or data.name, f"none of its {data.num_items} items is in the catalogue")
    rows = np.flatnonzero(left)
    sequences: Ragged[np.int32] = Ragged.split(items[kept], left[rows])
    times = None if data.times is None else Ragged.split(data.times.flat()[kept], left[rows])
    log = Dataset(
        name=data.name,
        num_items=len(ids),
        sequences=sequences,
        devices=np.arange(first_device, first_device + len(rows), dtype=np.int64),
        item_ids=ids,
        user_ids=Names.of(data.user_ids).take(rows),
        titles=titles,
        times=times,
        source=data.source,
    )
    seen = np.unique(data.sequences.flat())
    unknown = [data.item_ids[int(item) - 1] for item in seen if new[item] == 0]
    return Encoded(log, int((~kept).sum()), unknown, len(data) - len(rows))


def encode_log(
    file: Annotated[Path, typer.Argument(metavar="LOG", help="this node's log, with its own ids")],
    catalogue: Annotated[
        Path, typer.Option("--catalogue", help="the catalogue.parquet that all nodes share")
    ],
    out: Annotated[Path, typer.Option("--out", help="the folder to write node.parquet to")],
    unknown: Annotated[
        str, typer.Option("--unknown", help="items that the catalogue lacks: drop or refuse")
    ] = "refuse",
    first_device: Annotated[
        int,
        typer.Option("--first-device", min=1, help="number of the first device: unique over all nodes"),
    ] = 1,
    overrides: Settings = None,
) -> None:
    """Write a node's log from local ids: node.parquet, with the shared catalogue beside it."""
    if unknown not in UNKNOWN:
        raise ConfigError(f"--unknown {unknown!r}; valid: {', '.join(UNKNOWN)}")
    known = read_catalogue(catalogue)
    ids, titles = Names.of(known["id"]), Titles(known["title"].replace("", None))
    found = encode(opened("", str(file), overrides), ids, titles, first_device)
    some = ", ".join(map(printable, found.unknown[:SHOWN])) + ", …" * (len(found.unknown) > SHOWN)
    if found.unknown and unknown == "refuse":
        strange = f"{counted(len(found.unknown), 'item')} {'is' if len(found.unknown) == 1 else 'are'}"
        raise DataError(
            file,
            f"{strange} not in {catalogue}: {some} "
            f"({counted(found.dropped, 'interaction')}); --unknown drop leaves them out",
        )
    path = write_log(found.log, out, "node.parquet")
    if found.dropped:
        lost = counted(found.dropped, "interaction"), counted(len(found.unknown), "unknown item")
        typer.echo("dropped {} with {}: ".format(*lost) + some)
    if found.emptied:
        typer.echo(f"dropped {counted(found.emptied, 'device')} that had no other items")
    last = first_device + len(found.log) - 1
    fingerprint = catalogue_digest(ids)[:8]
    typer.echo(f"{path}: devices {first_device} to {last}, {CATALOGUE} {fingerprint} beside it")
