"""``fedsieve recommend``: what comes next after a history, by a finished run."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Group
from rich.table import Table
from rich.text import Text

from common.data.names import Names
from common.data.types import Items, Times
from common.errors import ConfigError
from common.printable import printable
from experiments.trained import Catalogue, Trained

SHOWN = 10
"""Interactions of a history that the table shows, the latest."""
HINTS = 3
TITLE = 200
"""Characters of a title or an id; the JSON has all."""


@dataclass(frozen=True)
class Item:
    """An item as people know it: catalogue number, the log's own id, and the title or ""."""

    item: int
    id: str
    title: str


@dataclass(frozen=True)
class Hit(Item):
    """A recommended item."""

    rank: int
    score: float


def parse_history(text: str, known: Catalogue, numbers: bool = False) -> Items:
    """Item numbers of a comma-separated history, oldest first; an id with a comma stands in quotes.

    Ids are the log's own, with ``numbers`` the catalogue's (1 to N). Raises ConfigError.
    """
    try:
        rows = list(csv.reader(text.splitlines(), skipinitialspace=True))
    except csv.Error as error:
        raise ConfigError(f"--history: {error}; expected item ids, oldest first, as in 50,181,174") from error
    parts = [part.strip() for row in rows for part in row]
    return numbered([part for part in parts if part], known, numbers)


def numbered(
    history: Sequence[str], known: Catalogue, numbers: bool = False, label: str = "--history"
) -> Items:
    """Item numbers of a history of ids; ``label`` is what an error calls it. Raises ConfigError."""
    if not history:
        raise ConfigError(f"{label} is empty; expected item ids, oldest first, as in 50,181,174")
    place = {one: i for i, one in enumerate(known.ids, start=1)}
    if numbers:
        place = {str(i): i for i in range(1, len(known.ids) + 1)}
    for part in history:
        if part not in place:
            valid = (
                f"1 to {len(known.ids)}" if numbers else f"ids as in the log, such as {_told(known.ids[0])}"
            )
            raise ConfigError(f"{label}: no item {part!r} in {known.name}; valid: {valid}{hint(part, known)}")
    return np.array([place[part] for part in history], dtype=np.int32)


def hint(text: str, known: Catalogue) -> str:
    """Items whose title holds ``text``: someone typed a name for an id."""
    found = [i for i, title in sorted(known.titles.items()) if text.casefold() in title.casefold()]
    if not found or text.isdecimal():
        return ""
    named = [f"{_told(known.ids[i - 1])} ({_told(known.title(i))})" for i in found[:HINTS]]
    return "; titles with it: " + ", ".join(named)


def _told(text: str) -> str:
    return printable(text, TITLE)


def history_of(user: str, known: Catalogue, numbers: bool = False) -> Items:
    """The whole history of a user of the run's log. Raises ConfigError."""
    if known.log is None:
        raise ConfigError(f"--user {user}: the run's data is a catalogue without histories; use --history")
    names = Names.of(map(str, known.log.devices.tolist())) if numbers else known.log.user_ids
    if user not in names:
        raise ConfigError(
            f"--user: no user {user!r} in {known.name}; valid: such as {', '.join(map(_told, names[:3]))}"
        )
    return known.log.sequences[names.index(user)]


def seconds_of(user: str, known: Catalogue, numbers: bool = False) -> Times | None:
    """When the interactions of :func:`history_of` were; None where the log has no times."""
    if known.log is None or known.log.times is None:
        return None
    names = Names.of(map(str, known.log.devices.tolist())) if numbers else known.log.user_ids
    return known.log.times[names.index(user)]


def timed(
    times: Sequence[float | str] | None,
    run: Trained,
    known: Catalogue,
    history: Items,
    label: str = "--times",
) -> Times | None:
    """The ``times`` of a history that was given as items, for a model that reads them.

    Raises ConfigError where it reads them and has none, and for times that do not fit the history.
    """
    if times is None:
        trained_on = known.log is None or known.log.times is not None
        if run.timed and trained_on:
            raise ConfigError(
                f"{label}: {run.config.model.name} reads when each interaction was; give the seconds of the "
                f"{len(history)} items, oldest first"
            )
        return None
    try:
        found = np.array([float(one) for one in times], dtype=np.float64)
    except ValueError:
        found = np.full(1, np.nan)
    if len(found) != len(history) or not np.isfinite(found).all() or (np.diff(found) < 0).any():
        told = f"{len(times)}: {','.join(map(str, times))[:60]}"
        raise ConfigError(f"{label}: expected {len(history)} seconds, none before the last, found {told}")
    return found


def best(
    run: Trained,
    known: Catalogue,
    history: Items,
    top: int,
    with_seen: bool = False,
    seconds: Times | None = None,
) -> list[Hit]:
    """The ``top`` items by h·e after ``history``; what it holds already is left out unless ``with_seen``.

    ``seconds`` of its interactions are for a model that reads them. Ties go to the lower item number, as
    in the evaluation.
    """
    scores = run.scores(history, seconds)  # [N + 1]
    scores[0] = -torch.inf
    if not with_seen:
        scores[torch.from_numpy(history.astype(np.int64))] = -torch.inf
    order = torch.argsort(scores, descending=True, stable=True)[:top].tolist()
    return [
        Hit(i, known.ids[i - 1], known.title(i), rank, float(scores[i]))
        for rank, i in enumerate(order, start=1)
        if scores[i] > -torch.inf
    ]


def named(history: Items, known: Catalogue) -> list[Item]:
    """The items of a history with their ids and titles."""
    return [Item(int(i), known.ids[i - 1], known.title(int(i))) for i in history]


def as_json(run: Trained, known: Catalogue, history: Items, hits: Sequence[Hit]) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "run": str(run.folder),
        "data": known.name,
        "history": [asdict(item) for item in named(history, known)],
        "recommendations": [asdict(hit) for hit in hits],
    }


def shown(run: Trained, known: Catalogue, history: Items, hits: Sequence[Hit]) -> Group:
    """The latest of the history, then the table of recommendations."""
    # Some logs call their items by the title.
    titles = any(title != known.ids[i - 1] for i, title in known.titles.items())
    past, tops = Table(), Table()
    tops.add_column("rank", justify="right")
    for table in (past, tops):
        table.add_column("item", justify="right" if known.ids[0].isdecimal() else "left")
        if titles:
            table.add_column("title", overflow="fold")
    tops.add_column("score", justify="right")
    if len(history) > SHOWN:
        past.add_row("…", *([f"{len(history) - SHOWN} earlier"] if titles else []))
    for item in named(history[-SHOWN:], known):
        past.add_row(Text(_told(item.id)), *([Text(_told(item.title))] if titles else []))
    for hit in hits:
        name = [Text(_told(hit.title))] if titles else []
        tops.add_row(str(hit.rank), Text(_told(hit.id)), *name, f"{hit.score:.3f}")
    reads = run.config.model.max_len
    limit = f"; the model reads the last {reads}" if len(history) > reads else ""
    return Group(
        Text(f"History of {len(history)}, oldest first{limit}:"),
        past,
        Text(f"Next, by {run.config.model.name} of {run.folder}:"),
        tops if hits else Text("nothing is left to recommend"),
    )
