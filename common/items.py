"""Items as people name them: by their id in the log or, as ``#12``, by their number in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import polars as pl
from pydantic import BeforeValidator

from common.data.names import Names
from common.errors import ConfigError
from common.explain import Words

if TYPE_CHECKING:
    from common.config import RunConfig

PICKED = ("cold", "medium", "random")
"""Words that pick items where an attack's targets are named."""
MOST = 50_000
"""Ids that a wrong one is compared with, letter by letter: a catalogue may have millions."""
_NUMBER = re.compile(r"#(\d{1,10})")


def as_name(value: object) -> object:
    """A number that YAML made of an id is that id again."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def as_group(value: object) -> object:
    """``none`` and nothing are no item."""
    return "" if value in (None, "none") else as_name(value)


Item = Annotated[str, BeforeValidator(as_name), Words("an item", "items")]


def name_of(number: int) -> str:
    """``#12``: how settings and files write number 12 of the catalogue."""
    return f"#{number}"


def shown(number: int, ids: Sequence[str]) -> str:
    """The id of an item in the log; its ``#12`` where that is unknown, or an id that means something else."""
    own = ids[number - 1] if 0 < number <= len(ids) else ""
    return name_of(number) if not own or own in PICKED or _NUMBER.fullmatch(own) else own


def number_of(name: str, key: str) -> int:
    """The number that ``#12`` is. Raises ConfigError for an id: what reads it here has no log."""
    if found := _NUMBER.fullmatch(name):
        return int(found[1])
    told = "no catalogue is here to find an id in; expected its number, as in #12"
    raise ConfigError(f"{key}: item {name!r}: {told}")


def numbers_of(names: Iterable[str], key: str) -> tuple[int, ...]:
    return tuple(number_of(name, key) for name in names)


def find(name: str, ids: Sequence[str], key: str, words: Sequence[str] = ()) -> int:
    """The catalogue number (from 1) of the item called ``name``.

    ids: the log's own id of item i at index i − 1. words: what else could be meant. Raises ConfigError with
    the nearest id.
    """
    if found := _NUMBER.fullmatch(name):
        if 1 <= int(found[1]) <= len(ids):
            return int(found[1])
        raise ConfigError(f"{key}: item {name}; valid: #1 to #{len(ids)}, or an id of the log")
    try:
        return ids.index(name) + 1
    except ValueError:
        near = _nearest(name, Names.of(ids).column, words)
        meant = _listed(name, ids) or (repr(near) if near else "")
        question = f"; did you mean {meant}?" if meant else ";"
        raise ConfigError(
            f"{key}: the log has no item {name[:60]!r}{question} valid: ids, as in {ids[0]!r}, or numbers "
            f"of the catalogue, #1 to #{len(ids)}"
        ) from None


def with_numbers(
    key: str, names: Sequence[str], ids: Sequence[str], words: Sequence[str] = ()
) -> tuple[str, ...]:
    """``names`` as ``#number``. Raises ConfigError for what is no item, and for one that comes twice."""
    numbers = [find(name, ids, key, words) for name in names]
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f"{key}: an item appears more than once in {list(names)}")
    return tuple(map(name_of, numbers))


def with_measured(config: RunConfig, ids: Sequence[str]) -> RunConfig:
    """``config`` with the items of ``eval.targets`` and ``eval.group`` as ``#number``. Raises ConfigError."""
    group = (config.eval.group,) if config.eval.group else ()
    found = {
        "targets": with_numbers("eval.targets", config.eval.targets, ids),
        "group": "".join(with_numbers("eval.group", group, ids)),
    }
    return config.model_copy(update={"eval": config.eval.model_copy(update=found)})


def split_names(text: str) -> tuple[str, ...]:
    """Items of a node config: ``50,#12``; one with a comma in its id is written by its number."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def finder(ids: Sequence[str], key: str) -> Callable[[str], int]:
    """:func:`find` in one catalogue, for one setting."""
    return lambda name: find(name, ids, key)


def _listed(name: str, ids: Sequence[str]) -> str:
    """``[50, 181]`` where ``50,181`` was given for two items: a list has brackets."""
    parts = [part.strip() for part in name.split(",")]
    known = set(ids) if len(parts) > 1 else set()
    return f"[{', '.join(parts)}]" if all(part in known for part in parts) else ""


def _nearest(name: str, ids: pl.Series, words: Sequence[str]) -> str:
    """The id that was meant: the same but for case, spaces or leading zeros, else the most alike."""

    def plain(one: pl.Series) -> pl.Series:
        return one.str.strip_chars().str.to_lowercase().str.strip_chars_start("0")

    if len(same := ids.filter(plain(ids) == plain(pl.Series([name])).item())):
        return str(same[0])
    some = ids
    if len(some) > MOST:
        some = some.filter(some.str.starts_with(name[:2]) | some.str.ends_with(name[-2:]))
    some = some.filter((some.str.len_chars().cast(pl.Int64) - len(name)).abs() <= 3).head(MOST)
    near = get_close_matches(name, [*words, *some.to_list()], 20)
    return min(near, key=lambda one: (_edits(name, one), abs(len(one) - len(name))), default="")


def _edits(one: str, other: str) -> int:
    """Letters to insert, delete or replace between two short texts (Levenshtein's distance)."""
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, wanted in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (letter != wanted))
    return row[-1]
