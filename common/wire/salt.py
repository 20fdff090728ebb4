"""Random bytes in each chunk of an array, so that no object id can be known before it is sent.

A SuperLink knows an object by the hash of its bytes, and keeps the parts that were named for it first: who
can work out the hash before the object is sent can have it refused. Flower sends an array in chunks, and each
is an object.
"""

from __future__ import annotations

import os

import numpy as np

SALT = 16
"""Random bytes at the end of each chunk."""

CHUNK = 5 << 20
"""Bytes of a chunk, salt included: Flower's own size (FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE)."""

ROOM = CHUNK - SALT


def salted(values: np.ndarray) -> bytes:
    """The bytes of ``values``, row by row, in chunks with their salt; without values one salt."""
    plain = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    parts: list[bytes | memoryview] = []
    for start in range(0, max(1, len(plain)), ROOM):
        parts += [plain[start : start + ROOM].data, os.urandom(SALT)]
    return b"".join(parts)


def salted_size(size: int) -> int:
    """Bytes of ``size`` bytes of values with their salt."""
    return size + SALT * max(1, -(-size // ROOM))


def plain_size(data: bytes) -> int:
    """Bytes of the values in ``data``; 0 for what is no such data."""
    return max(0, len(data) - SALT * max(1, -(-len(data) // CHUNK)))


def unsalted(data: bytes, dtype: str) -> np.ndarray:
    """The values in ``data``, writable and flat, whose size :func:`salted_size` has agreed to."""
    values, whole = np.empty(plain_size(data), np.uint8), np.frombuffer(data, np.uint8)
    for place in range(0, len(values), ROOM):
        part = values[place : place + ROOM]
        start = place // ROOM * CHUNK
        part[:] = whole[start : start + len(part)]
    return values.view(dtype)
