"""Sequences of different lengths in one array: millions of histories without millions of objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, SupportsIndex, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=np.generic)
Index = NDArray[np.int64]
CHUNK = 4_000_000
"""Values of a chunk: 16 to 32 MB."""


@dataclass(frozen=True, eq=False)
class Ragged(Sequence[NDArray[Value]], Generic[Value]):
    """n sequences: the k-th is ``values[starts[k] : starts[k] + lengths[k]]``.

    values [T]; starts, lengths int64 [n]. A cut or a choice of sequences shares ``values``: it costs O(n),
    whatever they hold. As a Sequence its elements are views of ``values``.
    """

    values: NDArray[Value]
    starts: Index
    lengths: Index

    @staticmethod
    def of(parts: Iterable[NDArray[Value]], dtype: type[Value]) -> Ragged[Value]:
        """The sequences ``parts``, copied one after the other; a Ragged of that type is returned as it is."""
        if isinstance(parts, Ragged) and parts.values.dtype == dtype:
            return parts
        arrays = [np.asarray(part, dtype=dtype) for part in parts]
        values = np.concatenate(arrays) if arrays else np.empty(0, dtype)
        return Ragged.split(values, np.array([len(part) for part in arrays], dtype=np.int64))

    @staticmethod
    def split(values: NDArray[Value], lengths: Index) -> Ragged[Value]:
        """``values`` [Σ lengths] cut into sequences of ``lengths`` [n]."""
        lengths = np.asarray(lengths, dtype=np.int64)
        return Ragged(values, np.cumsum(lengths) - lengths, lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: SupportsIndex) -> NDArray[Value]: ...
    @overload
    def __getitem__(self, index: slice) -> Ragged[Value]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> NDArray[Value] | Ragged[Value]:
        if isinstance(index, slice):
            return Ragged(self.values, self.starts[index], self.lengths[index])
        start = self.starts[index]
        view: NDArray[Value] = self.values[start : start + self.lengths[index]]
        return view

    def take(self, rows: Sequence[int] | NDArray[Any]) -> Ragged[Value]:
        """The sequences at ``rows`` [m]: integers, or bool [n]."""
        chosen = np.asarray(rows)
        if chosen.dtype != bool:
            chosen = chosen.astype(np.int64)
        return Ragged(self.values, self.starts[chosen], self.lengths[chosen])

    def first(self, most: int | Index) -> Ragged[Value]:
        """At most the ``most`` first values of each; one number, or one for each sequence."""
        return Ragged(self.values, self.starts, np.minimum(self.lengths, most))

    def last(self, most: int | Index) -> Ragged[Value]:
        """At most the ``most`` last values of each; one number, or one for each sequence."""
        kept = np.minimum(self.lengths, most)
        return Ragged(self.values, self.starts + self.lengths - kept, kept)

    def places(self) -> Index:
        """Where in ``values`` each value of each sequence lies, int64 [Σ lengths]."""
        before = np.cumsum(self.lengths) - self.lengths
        places: Index = np.arange(int(self.lengths.sum())) + np.repeat(self.starts - before, self.lengths)
        return places

    def flat(self) -> NDArray[Value]:
        """All values, sequence after sequence, [Σ lengths]; a view where they lie so in ``values``."""
        if len(self) and (self.starts[1:] == self.starts[:-1] + self.lengths[:-1]).all():
            return self.values[self.starts[0] : self.starts[-1] + self.lengths[-1]]
        flat: NDArray[Value] = self.values[self.places()]
        return flat

    def chunks(self, size: int = CHUNK) -> Iterator[Ragged[Value]]:
        """Runs of whole sequences, of about ``size`` values each, so that a pass needs little memory."""
        if not len(self):
            return
        block = np.cumsum(self.lengths) // size
        cuts = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(self)]
        for first, end in pairwise(cuts):
            yield self[first:end]

    def owners(self) -> Index:
        """The number 0..n-1 of the sequence that each value of :meth:`flat` belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def padded(self, width: int) -> NDArray[Value]:
        """The last ``width`` values of each, right-aligned with 0 before them: [n, width]."""
        tail = self.last(width)
        found = np.zeros((len(self), width), dtype=self.values.dtype)
        column = np.arange(int(tail.lengths.sum())) - np.repeat(np.cumsum(tail.lengths), tail.lengths)
        found[tail.owners(), width + column] = tail.flat()
        return found
