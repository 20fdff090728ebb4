"""float16 with a scale per device, so that gradients far below float16's range survive."""

from __future__ import annotations

import torch
from flwr.app import Array
from torch import Tensor

from common.wire.arrays import Shape, pack, unpack
from common.wire.reasons import Reason, fail

CHUNK = 32
"""Devices scaled at once: bounds the temporary copy in float32."""


def encode_scaled(values: Tensor, dtype: str) -> tuple[Array, Array | None]:
    """``values`` [n, …] as float32, or as float16 of values/s with s [n] = max |values| of each device.

    The error is at most 2^-11 of the device's largest magnitude. NaN and Inf stay what they are (they
    are the receiver's to refuse), so the scale is taken over the finite values only.
    """
    if dtype == "float32":
        return pack(values, "float32"), None
    n = values.shape[0]
    flat = values.detach().reshape(n, values[0].numel() if n else 0)  # [n, m]
    half = torch.empty(flat.shape, dtype=torch.float16)
    scale = torch.zeros(n)
    for start in range(0, n, CHUNK):
        part = flat[start : start + CHUNK].float()  # [c, m]
        finite = torch.where(part.isfinite(), part, 0)
        largest = finite.abs().amax(dim=1) if part.shape[1] else torch.zeros(len(part))  # [c]
        scale[start : start + CHUNK] = largest
        half[start : start + CHUNK] = part / torch.where(largest > 0, largest, 1)[:, None]
    return pack(half.reshape(values.shape), "float16"), pack(scale, "float32")


def decode_scaled(values: Array, scale: Array | None, field: str, shape: Shape) -> Tensor:
    """float32 values of ``shape`` [n, …]; with a scale the values must be float16. Raises WireError."""
    if scale is None:
        return unpack(values, field, "float32", shape)
    factor = unpack(scale, f"{field}_scale", "float32", shape[:1])  # [n]
    if not bool(factor.isfinite().all()):
        fail(f"{field}_scale", Reason.NOT_FINITE, "a scale is NaN or infinite")
    if bool((factor < 0).any()):
        fail(f"{field}_scale", Reason.RANGE, "a scale is negative")
    half = unpack(values, field, "float16", shape)
    return half.float().mul_(factor.view(-1, *[1] * (half.dim() - 1)))
