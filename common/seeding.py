"""One seed, handed down: every draw has a generator of its own, named by where it is used."""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, *path: int | str) -> int:
    """A 63-bit seed for the place ``path`` names; independent of every other place."""
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *path: int | str) -> torch.Generator:
    """A fresh CPU generator for the place ``path`` names."""
    return torch.Generator().manual_seed(derive(seed, *path))
