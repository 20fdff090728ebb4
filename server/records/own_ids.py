"""Own ids of items and users, for the files of a run whose log, or catalogue, is at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from common.data import Dataset
from common.items import number_of, shown


@dataclass(frozen=True)
class OwnIds:
    """What the log calls its items and users; empty where a server has neither.

    items: own id of item i at index i − 1. devices: int64 [n], ascending, and ``users`` their own ids. Only
    an emulation has users: over a network a server knows numbers of devices alone.
    """

    items: Sequence[str] = ()
    devices: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    users: Sequence[str] = ()

    @staticmethod
    def of(dataset: Dataset) -> OwnIds:
        return OwnIds(dataset.item_ids, dataset.devices, dataset.user_ids)

    def item(self, name: str) -> str:
        """The own id of ``#12``, or the same text where it has none."""
        return shown(number_of(name, "eval.targets"), self.items)

    def user(self, device: int | None) -> str | None:
        """The own id of a device; None where nobody here knows it."""
        if device is None or not len(self.users):
            return None
        place = int(np.searchsorted(self.devices, device))
        found = place < len(self.devices) and self.devices[place] == device
        return self.users[place] if found else None
