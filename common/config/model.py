"""Settings of the sequence model."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from common.config.fields import OfComponent
from common.config.limits import (
    MAX_BLOCKS,
    MAX_BOOKS,
    MAX_CODE_ROWS,
    MAX_DIM,
    MAX_HEADS,
    MAX_LEN,
    MAX_PARAMETERS,
)


def prime_from(number: int) -> int:
    """The least prime from ``number`` on."""
    while number < 2 or any(number % factor == 0 for factor in range(2, math.isqrt(number) + 1)):
        number += 1
    return number


def most_parameters(name: str, dim: int, max_len: int, blocks: int) -> int:
    """No model of this project has more: (B + 1)·L·d + 20·B·d·(d + 1) + 8·d.

    The narrow ones: L·d + 7·B·d·(d + 1) + 2·d.
    """
    if name in ("sasrec", "gru4rec"):
        return max_len * dim + 7 * blocks * dim * (dim + 1) + 2 * dim
    return (blocks + 1) * max_len * dim + 20 * blocks * dim * (dim + 1) + 8 * dim


class ModelConfig(OfComponent):
    """The sequence model; ``dim`` is also the width of the item table.

    ``blocks`` and ``heads`` are for models that have them, ``params`` for what only this one has.
    Nodes and tools read it from strangers, so that what it would take is bounded before anything is built.
    """

    closed = ("none", "sasrec", "gru4rec", "lrurec")
    shared = ("dim", "max_len", "blocks", "heads")

    name: str = Field("sasrec", description="which model, see `fedsieve list models`")
    dim: Annotated[int, Field(ge=1, le=MAX_DIM)] = Field(64, description="width of states and of item rows")
    max_len: Annotated[int, Field(ge=1, le=MAX_LEN)] = Field(
        50, description="the last interactions that the model reads"
    )
    blocks: Annotated[int, Field(ge=1, le=MAX_BLOCKS)] = Field(
        2, description="layers, of models that have them"
    )
    heads: Annotated[int, Field(ge=1, le=MAX_HEADS)] = Field(
        1, description="attention heads, of models that have them; they divide `dim`"
    )
    dropout: Annotated[float, Field(ge=0, le=0.99)] = Field(
        0.3, description="share of values that training drops"
    )
    code_books: Annotated[int, Field(ge=0, le=MAX_BOOKS)] = Field(
        0, description="rows that an item's embedding is the sum of; 0: each item has a row of its own"
    )
    code_rows: Annotated[int, Field(ge=2, le=MAX_CODE_ROWS)] = Field(
        1021, description="rows of each book, a prime: those that items share with `code_books`"
    )
    params: dict[str, Any] = Field({}, description="what a model takes beyond these settings")

    @field_validator("code_books")
    @classmethod
    def _shared(cls, books: int) -> int:
        if books == 1:
            raise ValueError(
                f"expected 0, or 2 to {MAX_BOOKS} books: items with one row share all or nothing"
            )
        return books

    @field_validator("code_rows")
    @classmethod
    def _prime(cls, rows: int, others: ValidationInfo) -> int:
        if rows < (books := others.data.get("code_books", 0)):
            raise ValueError(f"expected at least as many rows as books, {books}")
        if prime_from(rows) != rows:
            below = next(number for number in range(rows, 1, -1) if prime_from(number) == number)
            raise ValueError(f"expected a prime, such as {below} or {prime_from(rows)}")
        return rows

    @field_validator("blocks")
    @classmethod
    def _of_a_size_that_fits(cls, blocks: int, others: ValidationInfo) -> int:
        name, dim, length = (others.data.get(key, 1) for key in ("name", "dim", "max_len"))
        if (size := most_parameters(name, dim, length, blocks)) > MAX_PARAMETERS:
            raise ValueError(
                f"expected at most {MAX_PARAMETERS:,} parameters in all; dim {dim}, max_len {length} and "
                f"{blocks} blocks may have {size:,}"
            )
        return blocks
