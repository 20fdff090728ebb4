"""Inner products of the updates of a round, and the distances that follow from them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from common.updates import DeviceUpdates
from server.aggregators.products import fast_products, large

CHUNK = 8192
"""Features converted to float64 at a time, fewer where so many of n devices are more than ``BLOCK``."""

BLOCK = 1 << 23
"""Numbers that are worked on at a time beside the updates and the n x n matrix itself: 64 MiB."""

NOISE = 64 * torch.finfo(torch.float64).eps
"""Share of ‖a‖² + ‖b‖² below which ‖a − b‖² is rounding (also of the float32 input), hence 0."""


def gram(updates: DeviceUpdates, chunk: int = CHUNK) -> Tensor:
    """G = U Uᵀ: inner products ⟨u_i, u_j⟩ of whole updates, float64 [n, n] and symmetric.

    O(n²·(P + K·d)) time; beyond the input two such matrices and a block at most. Large rounds go through
    float32 blocks, which keep distances to about 1e-6 (``products``).
    """
    total: Tensor | None = None
    for values in (updates.encoder, updates.rows):  # the blocks are orthogonal, so their products add up
        fast = fast_products(values) if large(values) else None
        found = inner_products(values, chunk) if fast is None else fast
        total = found if total is None else total.add_(found)
    assert total is not None
    return total


def inner_products(values: Tensor, chunk: int = CHUNK) -> Tensor:
    """⟨v_i, v_j⟩ of v [n, …] over all but the first dimension, accumulated in float64 -> [n, n].

    float64 keeps ‖a‖² + ‖b‖² − 2⟨a, b⟩ at the accuracy of the float32 input even when all updates
    share a large offset; in float32 the difference drowns and turns negative.
    """
    n = values.shape[0]
    total = values.new_zeros((n, n), dtype=torch.float64)
    for part in _slabs(values, chunk):
        wide = part.double()  # [n, c]
        total.addmm_(wide, wide.T)  # [n, c] @ [c, n]
    for rows in row_blocks(n):  # a GEMM need not round both triangles alike
        across = total[rows, rows.start :]  # from the diagonal on  [b, n - start]
        both = (across + total[rows.start :, rows].T) / 2
        total[rows, rows.start :], total[rows.start :, rows] = both, both.T
    return total


def row_blocks(n: int) -> Iterator[slice]:
    """The n rows of an [n, n] matrix in blocks of ``BLOCK`` numbers."""
    step = max(1, BLOCK // max(1, n))
    return (slice(low, min(n, low + step)) for low in range(0, n, step))


def products_with(updates: DeviceUpdates, encoder: Tensor, rows: Tensor, chunk: int = CHUNK) -> Tensor:
    """⟨u_i, v⟩ with one more vector v = (encoder [P], rows [K, d]), accumulated in float64 -> [n]."""
    total = torch.zeros(len(updates), dtype=torch.float64, device=encoder.device)
    for values, vector in ((updates.encoder, encoder), (updates.rows, rows)):
        low = 0
        for part in _slabs(values, chunk):
            total += part.double() @ vector.flatten()[low : low + part.shape[1]].double()  # [n, c] @ [c]
            low += part.shape[1]
    return total


def _slabs(values: Tensor, chunk: int) -> Iterator[Tensor]:
    """Pieces [n, ≤ chunk] that cover the features (at least one index of dimension 1 each)."""
    width = max(1, values[0, 0].numel()) if values.numel() else 1
    chunk = min(chunk, BLOCK // max(1, len(values)))
    for part in torch.split(values, max(1, chunk // width), dim=1):
        yield part.reshape(values.shape[0], -1)


def norms(products: Tensor) -> Tensor:
    """‖u_i‖ from G [n, n] -> [n]."""
    return products.diagonal().clamp_min(0).sqrt()


def whole_norms(updates: DeviceUpdates, chunk: int = CHUNK) -> Tensor:
    """‖u_i‖ over encoder and rows, float64 [n]: the Gram diagonal alone, O(n·(P + K·d))."""
    slabs = (part for block in (updates.encoder, updates.rows) for part in _slabs(block, chunk))
    square = torch.zeros(len(updates), dtype=torch.float64, device=updates.encoder.device)
    for part in slabs:
        square += part.double().square().sum(dim=1)
    return square.sqrt()


def squared_distances(products: Tensor) -> Tensor:
    """‖u_i − u_j‖² from G [n, n] -> [n, n]: ≥ 0, zero on the diagonal and for equal updates."""
    return torch.cat([products[:0], *distance_blocks(products)])


def distance_blocks(products: Tensor) -> Iterator[Tensor]:
    """The rows of :func:`squared_distances` by blocks [b, n], for who needs no more than one at a time."""
    square = products.diagonal()
    for rows in row_blocks(len(products)):
        size = square[rows, None] + square[None, :]  # ‖u_i‖² + ‖u_j‖²
        distance = size - 2 * products[rows]
        block = torch.where(distance > NOISE * size, distance, 0.0)
        block.diagonal(rows.start).fill_(0)
        yield block


def squared_distances_to(products: Tensor, weights: Tensor) -> Tensor:
    """‖u_i − Σ_j w_j u_j‖² from G [n, n] and w [n] (any sum) -> [n], ≥ 0."""
    towards = products @ weights  # ⟨u_i, v⟩  [n]
    return (products.diagonal() - 2 * towards + weights @ towards).clamp_min(0)


def cosines(products: Tensor) -> Tensor:
    """cos(u_i, u_j) from G [n, n] -> [n, n]; 0 beside an update of zero."""
    size = norms(products).clamp_min(1e-150)
    return (products / size[:, None]).div_(size)


def centred(products: Tensor, weights: Tensor) -> Tensor:
    """⟨u_i − μ, u_j − μ⟩ with μ = Σ w_k u_k, from G [n, n] and w [n] of sum 1 -> [n, n]."""
    towards = products @ weights  # ⟨u_i, μ⟩  [n]
    return (products - towards[:, None]).sub_(towards).add_(weights @ towards)


def middle(values: Tensor) -> Tensor:
    """The median of a vector; the mean of the two middle values when their number is even."""
    ordered = values.sort().values
    last = len(ordered) - 1
    return (ordered[last // 2] + ordered[(last + 1) // 2]) / 2


def shrink(size: Tensor, bound: Tensor) -> Tensor:
    """min(1, bound/size), and 1 for updates of no size; size [n] -> [n]."""
    return torch.where(size > bound, bound / size.clamp_min(1e-300), torch.ones_like(size))
