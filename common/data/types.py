"""A log as the rest of the project sees it: one item sequence a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from common.data.names import Names, Titles
from common.data.ragged import Ragged
from common.preparation import Reading

Items = NDArray[np.int32]
Times = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Dataset:
    """Interaction histories in time order.

    sequences  the catalogue numbers (1..num_items) of each device, int32
    devices    int64 [n]: the device's stable number, unique within the log, ascending
    item_ids   the log's own id of item i at index i − 1
    user_ids   the log's own id of each device
    titles     item number -> title, where the data has them
    times      the seconds of each interaction, float64, or None where the log has no time
    cuts       the two times of a global time split, seconds; None: leave-one-out
    reading    what was understood of the file, and what was left out of it

    Histories may be given as arrays, one a device, and ids as any sequence of text.
    """

    name: str
    num_items: int
    sequences: Ragged[np.int32]
    devices: NDArray[np.int64]
    item_ids: Sequence[str]
    user_ids: Sequence[str]
    titles: Mapping[int, str] = field(default_factory=dict)
    times: Ragged[np.float64] | None = None
    source: str = ""
    cuts: tuple[float, float] | None = None
    reading: Reading = field(default_factory=Reading, compare=False)

    def __post_init__(self) -> None:
        times = None if self.times is None else Ragged.of(self.times, np.float64)
        given = {
            "sequences": Ragged.of(self.sequences, np.int32),
            "item_ids": Names.of(self.item_ids),
            "user_ids": Names.of(self.user_ids),
            "titles": Titles.of(self.titles, self.num_items),
            "times": times,
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.sequences)

    def __repr__(self) -> str:
        counts = (
            f"{len(self):,} users, {self.num_items:,} items, {self.sequences.lengths.sum():,} interactions"
        )
        return f"Dataset({self.name}: {counts}, {'no ' * (self.times is None)}times)"


@dataclass(frozen=True)
class Split:
    """Leave-one-out of one history: last item test, the one before validation."""

    train: Items
    valid: int
    test: int
