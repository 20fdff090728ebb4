"""What is done to a log while it is read: its columns, its order, and the rules that leave lines out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Literal

from common.errors import ConfigError, choices

ROLES = ("user", "item", "time", "rating", "event")
"""What a column of a log may be."""


@dataclass(frozen=True)
class Preparation:
    """The settings of ``data`` that say how a log is read; hashable.

    columns     (role, column) pairs: the name of a column, or its position from 1 in a file without a header
    order       by the times in the log, or as the file has it
    encoding    of text; auto is UTF-8, or UTF-16 with a mark
    events      kinds that are kept; none: all
    min_rating  ratings below it are left out, and lines without one; 0: none
    duplicates  interactions of one user, item and time
    repeats     interactions with an item that the user had before
    min_user    interactions below which a user is left out, and min_item an item, until no more fall (k-core)
    """

    columns: tuple[tuple[str, str | int], ...] = ()
    order: Literal["time", "file"] = "time"
    encoding: str = "auto"
    events: tuple[str, ...] = ()
    min_rating: float = 0.0
    duplicates: Literal["drop", "keep"] = "drop"
    repeats: Literal["keep", "drop"] = "keep"
    min_user: int = 0
    min_item: int = 0

    @property
    def numbered(self) -> bool:
        """Whether columns are given by position, so that the file has no header line."""
        return bool(self.columns) and all(isinstance(column, int) for _, column in self.columns)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles whose columns are read, needed or not."""
        timed = ("time",) if self.order == "time" else ()
        rated = ("rating",) if self.min_rating else ()
        return ("user", "item", *timed, *rated, *(("event",) if self.events else ()))

    def changed(self) -> dict[str, object]:
        """The settings that are not at their default."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        found = {name: value for name, value in found.items() if value != getattr(AS_IT_IS, name)}
        return found | ({"columns": dict(self.columns)} if self.columns else {})

    def text(self) -> str:
        """:meth:`changed` as JSON, for a node config; empty where nothing is."""
        found = self.changed()
        return json.dumps(found) if found else ""

    def summary(self) -> str:
        """:meth:`changed` for people, as a protocol line has it; columns, which change nothing, left out."""
        found = {name: value for name, value in self.changed().items() if name not in ("columns", "encoding")}
        shown = {
            name: "|".join(value)
            if isinstance(value, tuple)
            else format(value, "g")
            if isinstance(value, float)
            else value
            for name, value in found.items()
        }
        return ", ".join(f"{name} {value}" for name, value in shown.items())


AS_IT_IS = Preparation()


def check_columns(columns: Mapping[str, str | int], order: str = "time") -> None:
    """Raises ValueError for a role that does not exist, and for columns that contradict each other."""
    for role, column in columns.items():
        if role not in ROLES:
            raise ValueError(f"no role {role!r}{choices(role, ROLES)}")
        if column == "" or (isinstance(column, int) and column < 1):
            raise ValueError(f"{role}: expected a column's name, or its position from 1, found {column!r}")
    if len({isinstance(column, int) for column in columns.values()}) > 1:
        raise ValueError("expected names for all, or positions (of a file without a header line) for all")
    if (
        columns
        and all(isinstance(one, int) for one in columns.values())
        and not {"user", "item"} <= {*columns}
    ):
        raise ValueError("expected the positions of user and item, as in {user: 1, item: 2, time: 4}")
    if len(set(columns.values())) < len(columns):
        raise ValueError("expected a different column for each role")
    if order == "file" and "time" in columns:
        raise ValueError("a time column beside data.order: file, which reads none; leave one out")


def check_encoding(encoding: str) -> None:
    """Raises ValueError for an encoding that Python does not know, or that is not of text."""
    try:
        "a".encode("utf-8" if encoding == "auto" else encoding)
    except (LookupError, ValueError) as error:
        text = "expected auto or an encoding such as utf-8, latin-1, cp1252, utf-16, shift_jis"
        raise ValueError(text) from error


@dataclass
class Reading:
    """What was understood of a log, for ``fedsieve data check``.

    format    in words; columns: role -> name; unread: the other names; rows: interactions in the file
    dropped   setting -> interactions that it left out; unit: of the times
    """

    format: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    rows: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    unit: str = ""

    def drop(self, rule: str, rows: int) -> None:
        """Count ``rows`` more that ``rule`` left out."""
        if rows:
            self.dropped[rule] = self.dropped.get(rule, 0) + rows


@lru_cache(maxsize=64)
def from_text(text: str) -> Preparation:
    """The preparation of :meth:`Preparation.text`. Raises ConfigError."""
    from common.settings import validate

    try:
        tree = json.loads(text) if text else {}
    except ValueError as error:
        raise ConfigError(f'expected JSON such as {{"min_rating": 4}}, found {text!r}') from error
    if not isinstance(tree, dict) or (bad := sorted(set(tree) - {one.name for one in fields(Preparation)})):
        valid = ", ".join(one.name for one in fields(Preparation))
        raise ConfigError(
            f"expected a JSON mapping of {valid}; found {bad[0] if isinstance(tree, dict) else text}"
        )
    return validate({"data": tree}).data.preparation
