"""Every draw has a generator of its own, named by where it is used, from one seed or one secret key."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

Key = int | bytes
"""A seed that may be known (an emulation's), or a secret of at most 64 bytes."""

WORDS = 624
HEAD = 24
"""Bytes of a CPU generator's state before its 624 words of the Mersenne twister, 8 bytes each."""

_SEEDED = torch.Generator().manual_seed(0).get_state().numpy()
"""A state as torch lays it out: all but the words is the same for every seed."""


def derive(key: Key, *path: int | str) -> int:
    """A 63-bit seed for the place ``path`` names; independent of every other place."""
    if isinstance(key, bytes):
        digest = hashlib.blake2b(_text(path), digest_size=8, key=key)
    else:
        digest = hashlib.blake2b(_text((key, *path)), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 1


def generator(key: Key, *path: int | str) -> torch.Generator:
    """A fresh CPU generator for the place ``path`` names.

    Torch reads 32 bits of a seed and no more, which anybody can try one by one. With a secret key the whole
    state of the generator is drawn instead, by SHAKE-256 of the key and the place.
    """
    made = torch.Generator()
    if isinstance(key, int):
        return made.manual_seed(derive(key, *path))
    drawn = hashlib.shake_256(subkey(key, *path)).digest(4 * WORDS)
    seeded = _SEEDED.copy()
    seeded[HEAD : HEAD + 8 * WORDS].view("<u8")[:] = np.frombuffer(drawn, "<u4")
    return made.set_state(torch.from_numpy(seeded))


def subkey(key: Key, *path: int | str) -> bytes:
    """32 bytes for the place ``path`` names; they tell nothing about ``key`` or another place."""
    if isinstance(key, int):
        return hashlib.blake2b(_text((key, *path)), digest_size=32).digest()
    return hashlib.blake2b(_text(path), digest_size=32, key=key).digest()


def _text(path: tuple[int | str, ...]) -> bytes:
    return "/".join(str(part) for part in path).encode()
