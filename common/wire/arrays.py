"""Tensors as raw little-endian bytes; everything is checked before anything is allocated."""

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
