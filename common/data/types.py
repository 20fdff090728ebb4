"""A log as the rest of the project sees it: one item sequence a device."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Items = NDArray[np.int32]
Times = NDArray[np.float64]


@dataclass(frozen=True)
class Dataset:
    """Interaction histories in time order.

    sequences  one int32 array of catalogue numbers (1..num_items) a device
    devices    int64 [n]: the device's stable number, unique within the log, ascending
    item_ids   the log's own id of item i at index i − 1
    user_ids   the log's own id of each device
    titles     item number -> title, where the data has them
    times      one float64 array of seconds a device, or None where the log has no time
    """

    name: str
    num_items: int
    sequences: tuple[Items, ...]
    devices: NDArray[np.int64]
    item_ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    titles: dict[int, str] = field(default_factory=dict)
    times: tuple[NDArray[np.float64], ...] | None = None
    source: str = ""

    def __len__(self) -> int:
        return len(self.sequences)


@dataclass(frozen=True)
class Split:
    """Leave-one-out of one history: last item test, the one before validation."""

    train: Items
    valid: int
    test: int
