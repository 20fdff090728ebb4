"""What tells two logs apart: their content, wherever they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import polars as pl

from common.data.names import Names
from common.data.types import Dataset

NAMES = 100_000
"""Ids that are joined to one text at once."""


def content_digest(dataset: Dataset) -> str:
    """A hash of catalogue, device numbers, histories and their times; names and titles change no model.

    Of numbers and lengths of the devices first, so that no other division of the same items has it.
    """
    found = hashlib.blake2b(catalogue_digest(dataset.item_ids).encode(), digest_size=16)
    found.update(f" {len(dataset)}\n".encode())
    for numbers in (dataset.devices, dataset.sequences.lengths):
        found.update(np.ascontiguousarray(numbers, dtype="<i8").data)
    for some in dataset.sequences.chunks():
        found.update(np.ascontiguousarray(some.flat(), dtype="<i4").data)
    if dataset.times is not None:  # a term of the loss may read them
        for times in dataset.times.chunks():
            found.update(np.ascontiguousarray(times.flat(), dtype="<f8").data)
    return found.hexdigest()


def with_cuts(digest: str, cuts: tuple[float, float] | None) -> str:
    """``digest`` and the two times of a time split as one; without them the digest alone."""
    if cuts is None or not digest:
        return digest
    return hashlib.blake2b(f"{digest} {cuts[0]!r} {cuts[1]!r}".encode(), digest_size=16).hexdigest()


def catalogue_digest(item_ids: Iterable[str]) -> str:
    """A hash of which item has which number: all that the server of a deployment knows of the data."""
    found = hashlib.blake2b(digest_size=16)
    column = Names.of(item_ids).column
    for start in range(0, len(column), NAMES):
        some = column[start : start + NAMES]
        sized = pl.select(pl.concat_str(some.str.len_bytes(), pl.lit(" "), some).str.join("")).item()
        found.update(sized.encode())
    return found.hexdigest()
