"""float32 values in half as many bytes: float16 of each device's values over its largest magnitude."""

from __future__ import annotations

import torch
from flwr.app import Array
from torch import Tensor

from common.device import CPU
from common.wire.arrays import HeldArray, Shape, finite, pack, read, unpack
from common.wire.reasons import Reason, fail

CHUNK, NARROW, WIDE = 32, 1 << 22, 1 << 26
"""Devices and values scaled at once: no temporary copy in float32 has more. A GPU takes ``WIDE`` values."""


def encode_scaled(values: Tensor, dtype: str) -> tuple[Array, Array | None]:
    """``values`` [n, …] as float32, or as float16 of values/s with s [n] = max |values| of each device.

    The error is at most 2^-11 of the device's largest magnitude. NaN and Inf stay what they are (they
    are the receiver's to refuse), so the scale is taken over the finite values only.
    """
    if dtype == "float32":
        return pack(values, "float32"), None
    n = values.shape[0]
    flat = values.detach().reshape(n, values[0].numel() if n else 0)  # [n, m]
    half = torch.empty(flat.shape, dtype=torch.float16, device=flat.device)
    scale = torch.zeros(n, device=flat.device)
    width = max(1, flat.shape[1])
    step = max(1, min(CHUNK, NARROW // width)) if flat.device == CPU else max(CHUNK, WIDE // width)
    for start in range(0, n if flat.shape[1] else 0, step):
        part = flat[start : start + step].float()  # [c, m]
        largest = _largest(part)  # [c]
        scale[start : start + step] = largest
        torch.div(part, torch.where(largest > 0, largest, 1)[:, None], out=half[start : start + step])
    return HeldArray(half.reshape(values.shape), "float16"), HeldArray(scale, "float32")


def _largest(values: Tensor) -> Tensor:
    """max |values| over the finite ones: [c, m] -> [c]."""
    if values.device == CPU:  # a card would wait for the answer
        largest = torch.maximum(values.amax(dim=1), -values.amin(dim=1)).abs()  # [c]; no −0, and NaN stays
        if bool(largest.isfinite().all()):
            return largest
    return torch.where(values.isfinite(), values, 0).abs().amax(dim=1)


def decode_scaled(
    values: Array,
    scale: Array | None,
    field: str,
    shape: Shape,
    device: torch.device = CPU,
    out: Tensor | None = None,
) -> Tensor:
    """float32 values of ``shape`` [n, …]; with a scale the values must be float16. Raises WireError.

    out: a tensor [m, …] of m ≥ n, of whose memory the first n become the values; by default it is fresh.
    """
    if scale is None:
        if out is None:
            return unpack(values, field, "float32", shape, device)
        plain = read(values, field, "float32", shape, device)
        return out[: len(plain)].copy_(plain)
    factor = read(scale, f"{field}_scale", "float32", shape[:1], device)  # [n]
    if not bool(((factor >= 0) & (factor < torch.inf)).all()):  # NaN is neither
        finite(f"{field}_scale", factor, "a scale is NaN or infinite")
        fail(f"{field}_scale", Reason.RANGE, "a scale is negative")
    half = read(values, field, "float16", shape, device)
    single = half.float() if out is None else out[: len(half)].copy_(half)
    return single.mul_(factor.view(-1, *[1] * (half.dim() - 1)))
