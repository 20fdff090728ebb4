"""Millions of ids and titles without millions of strings: columns that look like a tuple and a dict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, SupportsIndex, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray


class Names(Sequence[str]):
    """Texts in one Polars column; equal to any sequence of the same texts."""

    __slots__ = ("column",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, column: pl.Series) -> None:
        self.column = column

    @staticmethod
    def of(texts: Iterable[str]) -> Names:
        """A column of ``texts``; one that is a column already is returned as it is."""
        if isinstance(texts, Names):
            return texts
        column = texts if isinstance(texts, pl.Series) else pl.Series(list(texts), dtype=pl.String)
        return Names(column.alias("id"))

    def __len__(self) -> int:
        return len(self.column)

    @overload
    def __getitem__(self, index: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Names: ...
    def __getitem__(self, index: SupportsIndex | slice) -> str | Names:
        if isinstance(index, slice):
            return Names(self.column[index])
        text: str = self.column[int(index)]
        return text

    def __iter__(self) -> Iterator[str]:
        return iter(self.column)

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and bool((self.column == text).any())

    def index(self, text: object, start: int = 0, stop: int | None = None) -> int:
        """The first place of ``text``. Raises ValueError."""
        if not isinstance(text, str) or not len(places := (self.column[start:stop] == text).arg_true()):
            raise ValueError(f"{text!r} is not there")
        return start + int(places[0])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Names):
            return self.column.equals(other.column)
        return isinstance(other, Sequence) and not isinstance(other, str) and tuple(self) == tuple(other)

    def __repr__(self) -> str:
        some = ", ".join(map(repr, self.column.head(3)))
        return f"Names({some}{', …' if len(self) > 3 else ''}; {len(self)})"

    def take(self, rows: Sequence[int] | NDArray[Any]) -> Names:
        """The texts at ``rows`` [m]."""
        return Names(self.column.gather(np.asarray(rows, dtype=np.int64)))


class Titles(Mapping[int, str]):
    """Item number (from 1) -> title, of a column with a title or null an item."""

    __slots__ = ("column",)

    def __init__(self, column: pl.Series) -> None:
        self.column = column

    @staticmethod
    def of(titles: Mapping[int, str], size: int) -> Titles:
        """A column of the titles of items 1 to ``size``; what is a column already is returned as it is."""
        if isinstance(titles, Titles):
            return titles
        texts: list[str | None] = [None] * size
        for number, title in titles.items():
            texts[number - 1] = title
        return Titles(pl.Series(texts, dtype=pl.String))

    def __getitem__(self, number: int) -> str:
        title = self.column[number - 1] if 1 <= number <= len(self.column) else None
        if title is None:
            raise KeyError(number)
        return str(title)

    def __iter__(self) -> Iterator[int]:
        return iter((self.column.is_not_null().arg_true() + 1).to_list())

    def __len__(self) -> int:
        return len(self.column) - self.column.null_count()
