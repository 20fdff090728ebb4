"""Histories made short on purpose."""

from __future__ import annotations

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
