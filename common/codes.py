"""Code rows: an item's embedding is made of a few rows that it shares with others, one of each book."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from common.config import ModelConfig, prime_from
from common.device import add_rows
from common.errors import ConfigError

OWN_ROWS = (
    "negatives: device sends rows of a device's own items; with model.code_books all send all code rows: "
    "expected slice or full"
)
ONE_SLICE = (
    "slices above 1: with model.code_books a device sends all code rows, whichever slice it takes; expected 1"
)


@dataclass(frozen=True)
class Codes:
    """Which rows belong to which item: e_i = B^(−½) Σ_k row_{k, code_k(i)}, k over B ``books`` of R ``rows``.

    code_k(i) = Σ_j digit_j k^j mod R with the digits of i − 1 to the base R, R prime: a Reed–Solomon code
    (Reed & Solomon 1960, doi 10.1137/0108018). It follows from the item's number alone. Two polynomials of
    degree below t agree at t − 1 points at most: of N ≤ R^t items no two share t rows, and none share all
    as long as N ≤ R^B. R items in a row, from i = m·R + 1 on, have each row of each book once: all rows have
    ⌊N/R⌋ or ⌈N/R⌉ items. With B^(−½) a step on one interaction alone moves an embedding as far as it would
    move a row of its own.

    num_items  N, at most R^B
    """

    books: int
    rows: int
    num_items: int

    @property
    def total(self) -> int:
        """Rows of the whole table, padding aside."""
        return self.books * self.rows

    @property
    def scale(self) -> float:
        return float(self.books**-0.5)

    @property
    def digits(self) -> int:
        """t, digits of the largest number: two items share t − 1 rows at most."""
        count = 1
        while self.rows**count < self.num_items:
            count += 1
        return count

    def of(self, items: Tensor) -> Tensor:
        """Rows of the table, int64 [..., B], book after book from row 1 on; item 0 has row 0 alone.

        items: numbers [...] from 0 to N.
        """
        left, digits = items.long() - 1, []
        for _ in range(self.digits):
            digits.append(left % self.rows)
            left = left // self.rows
        codes = []
        for book in range(self.books):
            code = torch.zeros_like(left)
            for digit in reversed(digits):
                code = (code * book + digit) % self.rows
            codes.append(code + (1 + book * self.rows))
        return torch.where(items[..., None] > 0, torch.stack(codes, dim=-1), 0)

    @cached_property
    def every(self) -> Tensor:
        """:meth:`of` every item, int64 [N + 1, B]."""
        return self.of(torch.arange(self.num_items + 1))

    def embed(self, table: Tensor, items: Tensor) -> Tensor:
        """Embeddings of items [m]: table [B·R + 1, d] -> [m, d]."""
        return self.scale * summed(table, self.of(items))

    def onto_rows(self, values: Tensor) -> Tensor:
        """Each row's sum over its items: values [N + 1, …] -> [B·R + 1, …]."""
        total = values.new_zeros(self.total + 1, *values.shape[1:])
        for column in self.every.to(values.device).T:
            add_rows(total, column, values)
        return total


def summed(rows: Tensor, places: Tensor) -> Tensor:
    """Σ_k of the rows at places int64 [m, B]: rows [..., R, d] -> [..., m, d]."""
    total = rows.index_select(-2, places[:, 0])
    for column in places.T[1:]:
        total = total + rows.index_select(-2, column)
    return total


def codes_of(config: ModelConfig, num_items: int) -> Codes | None:
    """The codes of a catalogue, None where each item has a row of its own.

    Raises ConfigError where some items would share all their rows.
    """
    if not config.code_books:
        return None
    books, rows = config.code_books, config.code_rows
    if num_items > rows**books:
        least = prime_from(next(r for r in range(rows, num_items) if r**books >= num_items))
        raise ConfigError(
            f"model.code_rows is {rows}: {books} books have {rows**books:,} different codes, the catalogue "
            f"{num_items:,} items; expected a prime from {least} on"
        )
    return Codes(books, rows, num_items)
