"""Inner products of large rounds in float32 blocks; what float32 cannot tell apart is done exactly.

A float32 product of two blocks errs by about 1e-7 of the lengths of what it multiplies, so it may serve
where vectors differ by about their length, and not where they agree in nearly all of it. Two things see to
that. What the devices share is subtracted first: a centre near most of them, chosen on a sample. And pairs
that are still close for their length (copies, a tight cluster) are done again in float64. A poor centre
therefore costs time, never accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SMALL = 1 << 20
"""Below so many values float64 throughout costs next to nothing."""

BLOCK = 8192
"""Features multiplied at a time in float32; blocks are added up in float64."""

ROOM = 1 << 23
"""Numbers that are worked on at a time beside the updates and the n x n matrix itself."""

SAMPLED, RUN = 2048, 16
"""Features of the sample that the centre is chosen on, and how many of them lie side by side."""

CENTRAL = 4
"""Devices whose mean is the centre: the most central ones on the sample, whatever attackers there are."""

CLOSE = 1 / 16
"""Pairs with ‖a − b‖² below this share of ‖a‖² + ‖b‖², in coordinates of the centre, are done in float64.

The share bounds what float32 may do: an error of ε in ⟨a, b⟩, relative to the lengths, is one of at most
2ε/CLOSE in the squared distance. Over blocks of 8,192 features ε is a few 1e-8, and 1e-4 in the
worst case.
"""

FAINT = 1e-28
"""Squared lengths below this are done in float64: their float32 products may have vanished."""


@dataclass(frozen=True)
class Products:
    """⟨v_i, v_j⟩ float64 [n, n] around a centre: products [n, n], with_centre [n], of_centre."""

    products: Tensor
    with_centre: Tensor
    of_centre: Tensor

    def uncentred(self) -> Tensor:
        """⟨v_i + m, v_j + m⟩ in place of the products, symmetric to the last bit.

        An error of ⟨v_i, m⟩ leaves all distances alone.
        """
        for rows in _rows(len(self.products)):
            self.products[rows] += self.with_centre[rows, None] + self.with_centre[None, :]
        return self.products.add_(self.of_centre)


def large(values: Tensor) -> bool:
    """Whether the fast way is worth it, and possible: many values, in one piece, on the CPU."""
    here = values.is_contiguous() and values.device.type == "cpu" and values.dtype == torch.float32
    return here and values.numel() > SMALL and values[0].numel() >= SAMPLED


def fast_products(values: Tensor) -> Tensor | None:
    """⟨v_i, v_j⟩ of v float32 [n, …] -> float64 [n, n]; None where only float64 throughout will do."""
    flat = values.reshape(len(values), -1)  # [n, D], a view
    centre = common_part(flat)
    found = _in_float32(flat, centre)
    products, square = found.products, found.products.diagonal().clone()
    faint = (square < FAINT).nonzero().flatten()
    nothing = 0.0 if centre is None else centre
    finite = all(bool(products[rows].isfinite().all()) for rows in _rows(len(flat)))
    finite = finite and bool(found.with_centre.isfinite().all() & found.of_centre.isfinite())
    if not finite or any(bool((flat[i] != nothing).any()) for i in faint):
        return None  # what overflows float32 (beyond 1e19), or vanishes in it
    close = torch.zeros(len(flat), len(flat), dtype=torch.bool)
    for rows in _rows(len(flat)):
        size = square[rows, None] + square[None, :]
        close[rows] = size - 2 * products[rows] < CLOSE * size
    for group in groups(close.fill_diagonal_(False)):
        products[group[:, None], group] = _in_float64(flat, centre, group)
    return found.uncentred()


def _rows(n: int) -> Iterator[slice]:
    """The n rows of an [n, n] matrix in blocks of ``ROOM`` numbers."""
    step = max(1, ROOM // n)
    return (slice(low, low + step) for low in range(0, n, step))


def common_part(flat: Tensor) -> Tensor | None:
    """The mean [D] of the most central devices, or None where they share little beside their spread."""
    n, width = flat.shape
    runs = SAMPLED // RUN
    sample = flat[:, : width // runs * runs].view(n, runs, -1)[:, :, :RUN].reshape(n, -1).double()
    square, near = sample.square().sum(dim=1), sample.new_empty(n)
    for rows in _rows(n):
        away = (square[rows, None] + square[None, :] - 2 * (sample[rows] @ sample.T)).clamp_min(0)  # [b, n]
        near[rows] = away.kthvalue(n // 2 + 1, dim=1).values  # to the middle one of the others
    central = near.argsort(stable=True)[:CENTRAL]
    shared = sample[central].mean(dim=0).square().sum()
    return flat[central].mean(dim=0) if bool(shared > near.median()) else None


def groups(close: Tensor) -> Iterator[Tensor]:
    """The connected parts of two or more devices of a symmetric relation bool [n, n], ascending."""
    left = close.any(dim=1)
    while left.any():
        part = torch.zeros_like(left)
        part[left.nonzero()[0]] = True
        while not torch.equal(grown := part | close[part].any(dim=0), part):
            part = grown
        left = left & ~part
        yield part.nonzero().flatten()


def _in_float32(flat: Tensor, centre: Tensor | None) -> Products:
    """Products of the v_i − m and of m; without a centre the last ones are 0."""
    n, width = flat.shape
    total, with_centre, of_centre = np.zeros((n, n)), np.zeros(n), np.zeros(())
    step = max(1, min(BLOCK, ROOM // n))
    room = torch.empty((n + 1, 0 if centre is None else step))
    for low in range(0, width, step):
        part = flat[:, low : low + step]
        if centre is None:
            block = part.numpy()
            with np.errstate(over="ignore", invalid="ignore"):
                total += block @ block.T  # numpy sees A·Aᵀ and computes half of it
        else:
            held = room[:, : part.shape[1]]
            held[n] = centre[low : low + step]
            torch.sub(part, held[n], out=held[:n])
            block = held.numpy()
            with np.errstate(over="ignore", invalid="ignore"):
                found = block @ block.T
                total += found[:n, :n]
                with_centre += found[:n, n]
                of_centre += found[n, n]
    return Products(torch.from_numpy(total), torch.from_numpy(with_centre), torch.from_numpy(of_centre))


def _in_float64(flat: Tensor, centre: Tensor | None, group: Tensor) -> Tensor:
    """Products of the v_i − m of a group of close devices [s] -> float64 [s, s].

    Around the first of the group: equal vectors differ from it by equal numbers, and have distance 0.
    """
    s = len(group)
    total = torch.zeros((s + 1, s + 1), dtype=torch.float64)
    step = max(1, min(BLOCK, ROOM // s))
    for low in range(0, flat.shape[1], step):
        wide = torch.empty((s + 1, min(step, flat.shape[1] - low)), dtype=torch.float64)
        wide[:s] = flat[group, low : low + step]
        wide[s] = flat[group[0], low : low + step]
        wide[:s] -= wide[s].clone()
        if centre is not None:
            wide[s] -= centre[low : low + step]
        total.addmm_(wide, wide.T)
    total = (total + total.T) / 2
    return Products(total[:s, :s], total[:s, s].clone(), total[s, s].clone()).uncentred()
