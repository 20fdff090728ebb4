"""Part of a log: short histories, or some of the devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from common.data.types import Dataset


def recent(dataset: Dataset, length: int) -> Dataset:
    """Only the last ``length`` interactions of each device, before any split; 0 keeps all.

    The catalogue stays as it is, so that numbers and models of the whole log fit the cut one.
    """
    if not length:
        return dataset
    times = None if dataset.times is None else tuple(one[-length:] for one in dataset.times)
    return replace(dataset, sequences=tuple(one[-length:] for one in dataset.sequences), times=times)


def only(data: Dataset, rows: Sequence[int]) -> Dataset:
    """The devices at ``rows``, with their numbers."""
    return replace(
        data,
        sequences=tuple(data.sequences[i] for i in rows),
        devices=data.devices[list(rows)],
        user_ids=tuple(data.user_ids[i] for i in rows),
        times=None if data.times is None else tuple(data.times[i] for i in rows),
    )
