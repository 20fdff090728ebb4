"""Tensors as raw little-endian bytes; all is checked before anything is allocated."""

from __future__ import annotations

import math

import numpy as np
import torch
from flwr.app import Array
from torch import Tensor

from common.wire.reasons import Reason, fail, show

STYPE = "raw"
"""Neither npy nor pickle: the bytes hold values only, so there is nothing to parse."""

Shape = tuple[int | range, ...]
"""Expected sizes; a range means any size in it."""

_NUMPY = {
    "float16": "<f2",
    "float32": "<f4",
    "float64": "<f8",
    "int32": "<i4",
    "int64": "<i8",
    "uint8": "|u1",
}
_TORCH = {
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
}


def pack(tensor: Tensor, dtype: str) -> Array:
    """The values of ``tensor`` as ``dtype``, which must hold them exactly or be a chosen rounding."""
    values = tensor.detach().cpu().to(_TORCH[dtype]).contiguous().numpy()
    data = values.astype(_NUMPY[dtype], copy=False).tobytes()
    return Array(dtype=dtype, shape=tuple(values.shape), stype=STYPE, data=data)


def unpack(array: Array, field: str, dtype: str, shape: Shape) -> Tensor:
    """A fresh writable tensor of exactly ``dtype`` and ``shape``; nothing is broadcast or cast.

    Raises WireError. The allocation is as large as the bytes that already arrived, never larger.
    """
    declared = check(array, field, dtype, shape)
    result = torch.empty(declared, dtype=_TORCH[dtype])
    result.numpy()[...] = np.frombuffer(array.data, dtype=_NUMPY[dtype]).reshape(declared)
    return result


def check(array: Array, field: str, dtype: str, shape: Shape) -> tuple[int, ...]:
    """The declared shape, once storage, type, shape and number of bytes agree with it."""
    if array.stype != STYPE:
        fail(field, Reason.TYPE, f"expected storage {STYPE!r}, found {show(array.stype)}")
    if array.dtype != dtype:
        fail(field, Reason.DTYPE, f"expected {dtype}, found {show(array.dtype)}")
    declared = array.shape
    if not isinstance(declared, tuple) or not all(type(size) is int for size in declared):
        fail(field, Reason.SHAPE, f"expected a tuple of integers, found {show(declared)}")
    if len(declared) != len(shape) or not all(map(_fits, declared, shape)):
        fail(field, Reason.SHAPE, f"expected {_expected(shape)}, found {show(declared)}")
    if not isinstance(array.data, bytes):
        fail(field, Reason.TYPE, f"expected bytes, found {type(array.data).__name__}")
    size = math.prod(declared) * np.dtype(_NUMPY[dtype]).itemsize  # Python integers: no overflow
    if len(array.data) != size:
        fail(field, Reason.SIZE, f"{show(declared)} {dtype} is {size} bytes, found {len(array.data)}")
    return declared


def _fits(size: int, expected: int | range) -> bool:
    return size in expected if isinstance(expected, range) else size == expected


def _expected(shape: Shape) -> str:
    sizes = [f"{s.start}..{s.stop - 1}" if isinstance(s, range) else str(s) for s in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


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


def within(field: str, values: Tensor, low: int, high: int | None = None) -> None:
    """Every value lies in low..high (no upper bound when None). Raises WireError."""
    if values.numel() == 0:
        return
    smallest, largest = int(values.min()), int(values.max())
    if smallest < low or (high is not None and largest > high):
        limit = f"{low}..{high}" if high is not None else f"at least {low}"
        fail(field, Reason.RANGE, f"expected {limit}, found {smallest}..{largest}")


def ascending(field: str, values: Tensor) -> None:
    """Strictly ascending, hence unique. Raises WireError that tells repetition from disorder."""
    if bool((values[1:] > values[:-1]).all()):
        return
    unique(field, values)
    fail(field, Reason.ORDER, "expected ascending numbers")


def unique(field: str, values: Tensor) -> None:
    ordered = values.sort().values
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        fail(field, Reason.DUPLICATE, f"{int(repeated[0])} appears more than once")


def finite(field: str, values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        fail(field, Reason.NOT_FINITE, "NaN or infinite values")
