"""What tells two logs apart: their content, wherever they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from common.data.types import Dataset


def content_digest(dataset: Dataset) -> str:
    """A hash of catalogue, device numbers, histories and their times; names and titles change no model."""
    found = hashlib.blake2b(catalogue_digest(dataset.item_ids).encode(), digest_size=16)
    for device, items in zip(dataset.devices.tolist(), dataset.sequences, strict=True):
        found.update(f"{device} {len(items)}\n".encode())
        found.update(items.astype("<i4").tobytes())
    for times in dataset.times or ():  # a term of the loss may read them
        found.update(times.astype("<f8").tobytes())
    return found.hexdigest()


def catalogue_digest(item_ids: Iterable[str]) -> str:
    """A hash of which item has which number: all that the server of a deployment knows of the data."""
    found = hashlib.blake2b(digest_size=16)
    for name in item_ids:
        raw = name.encode()
        found.update(f"{len(raw)} ".encode() + raw)
    return found.hexdigest()
