"""``fedsieve data check``: what is understood of a log, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from common.config import RunConfig
from common.data import SHORTEST, Dataset
from common.data.cut import held_out, recurs
from common.data.names import Names
from common.data.stats import Stats, stats
from common.printable import counted

SEQUENCES, ITEMS = 3, 8
"""Histories that are shown, and the items at the start of each."""
MISSING = ["nan", "null", "none", "na", "n/a", "undefined"]
CLOCK = 3e8
"""Seconds from which a time is shown as a date; a log may count from its own start."""


@dataclass(frozen=True)
class Check:
    """A log and what it looks like; ``recurring`` of its test answers are in the history before them."""

    log: Dataset
    config: RunConfig
    numbers: Stats
    recurring: float

    @staticmethod
    def of(log: Dataset, config: RunConfig) -> Check:
        again = recurs(*held_out(log.sequences, "test"))
        return Check(log, config, stats(log), float(again.mean()) if len(again) else 0.0)

    def json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        reading = self.log.reading
        return {
            "source": self.log.source,
            "format": reading.format,
            "columns": reading.columns,
            "unread": reading.unread,
            "order": self.order(),
            "rows": reading.rows,
            "dropped": reading.dropped,
            "users": self.numbers.users,
            "items": self.numbers.items,
            "interactions": self.numbers.interactions,
            "evaluated": self.numbers.users - self.numbers.short,
            "recurring_answers": self.recurring,
            "sequences": [{"user": user, "items": items} for user, items, _ in self.sequences()],
        }

    def order(self) -> str:
        """In words how a history is put in order."""
        times, reading = self.log.times, self.log.reading
        if times is None:
            return "as in the file; no times are read"
        clock = times.flat()
        column = reading.columns.get("time", "")
        return f"by {column or 'time'} ({reading.unit or 's'}), {_when(clock.min())} to {_when(clock.max())}"

    def rows(self) -> Iterator[tuple[str, str]]:
        """Label and text of each line of the table."""
        reading, n = self.log.reading, self.numbers
        yield "format", reading.format or "prepared by fedsieve"
        yield (
            "columns",
            ", ".join(f"{role} = {name}" for role, name in reading.columns.items()) or "by position",
        )
        if reading.unread:
            yield "not read", ", ".join(reading.unread)
        yield "order", self.order()
        yield "interactions in the file", f"{reading.rows or n.interactions:,}"
        for rule, rows in reading.dropped.items():
            yield f"dropped by {rule}", f"{rows:,} ({rows / reading.rows:.1%})"
        left = counted(n.interactions, "interaction"), counted(n.users, "user"), counted(n.items, "item")
        yield "left", "{} of {} with {}".format(*left)
        yield "history length", f"{n.shortest:,} to {n.longest:,}, median {n.quartiles[1]:g}"
        yield "users that are evaluated", f"{n.users - n.short:,} (from {SHORTEST} interactions on)"
        yield "repeated interactions", f"{n.repeated:.1%}"
        yield "test answers that recur", f"{self.recurring:.1%}"
        if n.tied_ends:
            yield "users with a tie at the end", f"{n.tied_ends:.1%} (the order of the file decides)"
        for number, (user, items, more) in enumerate(self.sequences(), start=1):
            shown = ", ".join(items) + (f", … ({more} more)" if more else "")
            yield f"history {number}: user {user}", shown

    def warnings(self) -> Iterator[str]:
        """What should not be trained on as it is."""
        if (
            self.log.times is None
            and "one line a user" not in self.log.reading.format
            and self.log.reading.rows
        ):
            yield "the order of the file is taken for time: sort the file, or name a time column"
        for kind, ids in (("a user", self.log.user_ids), ("an item", self.log.item_ids)):
            if odd := _odd(ids):
                told = ", ".join(map(repr, odd))
                yield f"{told}: the id of {kind} looks like a missing value, and is taken as it is"
        if self.recurring > 0.05:
            yield (
                f"{self.recurring:.0%} of the test answers recur: look at the unfiltered figures, or keep "
                "the first of each with data.repeats=drop"
            )

    def sequences(self) -> Iterator[tuple[str, list[str], int]]:
        """User, the ids of the first items, and how many more there are, of the first users."""
        log = self.log
        for user, history in zip(log.user_ids[:SEQUENCES], log.sequences[:SEQUENCES], strict=True):
            yield user, [log.item_ids[int(i) - 1] for i in history[:ITEMS]], max(0, len(history) - ITEMS)


def _odd(ids: Sequence[str]) -> list[str]:
    """Some ids that a spreadsheet or a program may have written for nothing."""
    column = Names.of(ids).column
    found: list[str] = column.filter(column.str.to_lowercase().is_in(MISSING)).head(3).to_list()
    return found


def _when(seconds: np.float64) -> str:
    if not CLOCK <= seconds < 1e11:
        return f"{seconds:g}"
    return datetime.fromtimestamp(float(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")
