"""Sketches: updates in a small space that keeps their inner products, for a round or for changing slices."""

from __future__ import annotations

import torch
from torch import Tensor

from common.device import CPU, add_rows
from common.updates import DeviceUpdates
from server.aggregators.gram import BLOCK as SPACE
from server.aggregators.gram import CHUNK

BLOCK = 128
"""Columns of a triangle of products done at a time."""

PRIME = 2**31 - 1
"""Hashes are polynomials modulo this prime: a product of two residues fits in an int64."""

FOLD = 4096
"""Values of a folded vector: a cosine is true to about 1/√FOLD = .016."""


def fold(values: Tensor, generator: torch.Generator) -> Tensor:
    """Every coordinate, with a drawn sign, added to place j mod ``FOLD``: [n, …] -> [n, at most FOLD].

    ⟨fold(a), fold(b)⟩ is ⟨a, b⟩ in expectation over the signs, for vectors of one round; nobody outside the
    server knows the signs. What is short enough stays as it is. One pass and no copy of the whole.
    """
    width = values[0].numel()
    signs = (torch.randint(0, 2, (width,), generator=generator) * 2 - 1).to(values)  # [D]
    return _folded(values.flatten(1), signs)


def _folded(flat: Tensor, signs: Tensor) -> Tensor:
    """flat [n, D], signs [D]."""
    width = flat.shape[1]
    if width <= FOLD:
        return flat
    total = flat.new_zeros(len(flat), FOLD)
    for low in range(0, width, FOLD):
        part = flat[:, low : low + FOLD]
        total[:, : part.shape[1]].addcmul_(part, signs[low : low + FOLD])
    return total


def folded_cosines(values: Tensor, generator: torch.Generator, beyond_mean: bool = False) -> Tensor:
    """cos(v_u, v_w) of folded vectors, 0 beside zeros: [n, …] -> float32 [n, n].

    ``beyond_mean``: of v_u/‖v_u‖ − mean_w v_w/‖v_w‖; two devices that send zeros are alike then, as nobody
    who learns is.
    """
    unit = _normalised(fold(values, generator))
    if beyond_mean:
        unit = _normalised(unit - unit.mean(dim=0))
    return symmetric(unit)


def symmetric(values: Tensor) -> Tensor:
    """V Vᵀ of v [n, D] -> [n, n]: one triangle by blocks, and its mirror image."""
    total = values.new_empty(len(values), len(values))
    for low in range(0, len(values), BLOCK):
        high = low + BLOCK
        part = values[low:] @ values[low:high].T  # [n - low, BLOCK]
        total[low:, low:high], total[low:high, low:] = part, part.T
    return total


def _normalised(values: Tensor) -> Tensor:
    """v/‖v‖, by its largest value first: squares neither overflow nor vanish."""
    tiny = torch.finfo(torch.float32).tiny
    unit = values / values.abs().amax(dim=1, keepdim=True).clamp_min(tiny)
    return unit.div_(unit.norm(dim=1, keepdim=True).clamp_min(tiny))


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
    chunk = max(1, min(CHUNK, SPACE // max(1, len(block))))
    for names, values in zip(torch.split(names_of, chunk), torch.split(block, chunk, dim=1), strict=True):
        bucket = _polynomial(names, hashes[0]) % total.shape[1]  # [c]
        sign = _polynomial(names, hashes[1]) % 2  # [c]
        signed = values.double() * (1 - 2 * sign)  # [n, c]
        if total.device == CPU:
            total.index_add_(1, bucket, signed)  # into [n, width]
        else:
            add_rows(total.T, bucket, signed.T)


def _polynomial(names: Tensor, coefficients: Tensor) -> Tensor:
    """Σ c_k x^k mod PRIME of int64 names < 2³², by Horner's rule."""
    value = torch.zeros_like(names)
    for c in coefficients:
        value = (value * names + c) % PRIME
    return value
