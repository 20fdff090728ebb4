"""Count sketches: updates of changing slices in one small space that keeps their inner products."""

from __future__ import annotations

import torch
from torch import Tensor

from common.updates import DeviceUpdates
from server.aggregators.gram import CHUNK

PRIME = 2**31 - 1
"""Hashes are polynomials modulo this prime: a product of two residues fits in an int64."""


def hashing(generator: torch.Generator) -> Tensor:
    """Coefficients int64 [2, 4] of two random cubic polynomials (4-wise independent): bucket and sign."""
    return torch.randint(1, PRIME, (2, 4), generator=generator)


def sketch(updates: DeviceUpdates, hashes: Tensor, width: int) -> Tensor:
    """Every coordinate, with its sign, added to its bucket: float32 [n, width].

    ⟨sketch(a), sketch(b)⟩ is ⟨a, b⟩ in expectation over the hashes, with deviation at most
    √2·‖a‖‖b‖/√width. A coordinate is named by its place in the encoder or by item and dimension, so
    sketches of different slices add up. Reference: Charikar, Chen and Farach-Colton, ICALP 2002.
    """
    dim = updates.rows.shape[2]
    device = updates.encoder.device
    in_rows = updates.items.long()[:, None] * dim + torch.arange(dim, device=device)  # [K, d]
    total = torch.zeros(len(updates), width, dtype=torch.float64, device=device)
    _add(total, _encoder_names(updates.encoder), updates.encoder, hashes)
    _add(total, 2 * in_rows.flatten() + 1, updates.rows.flatten(1), hashes)
    return total.float()


def sketch_of(encoders: Tensor, hashes: Tensor, width: int) -> Tensor:
    """The same of vectors that are encoders alone, [n, P] -> float32 [n, width]."""
    total = torch.zeros(len(encoders), width, dtype=torch.float64, device=encoders.device)
    _add(total, _encoder_names(encoders), encoders, hashes)
    return total.float()


def _encoder_names(encoders: Tensor) -> Tensor:
    return 2 * torch.arange(encoders.shape[1], device=encoders.device)  # even names  [P]


def _add(total: Tensor, names_of: Tensor, block: Tensor, hashes: Tensor) -> None:
    """Add the sketches of block [n, p], its columns named by ``names_of`` [p], to total [n, width]."""
    for names, values in zip(torch.split(names_of, CHUNK), torch.split(block, CHUNK, dim=1), strict=True):
        bucket = _polynomial(names, hashes[0]) % total.shape[1]  # [c]
        sign = _polynomial(names, hashes[1]) % 2  # [c]
        total.index_add_(1, bucket, values.double() * (1 - 2 * sign))  # [n, c] into [n, width]


def _polynomial(names: Tensor, coefficients: Tensor) -> Tensor:
    """Σ c_k x^k mod PRIME of int64 names < 2³², by Horner's rule."""
    value = torch.zeros_like(names)
    for c in coefficients:
        value = (value * names + c) % PRIME
    return value
