"""Tensors as raw little-endian bytes, or as themselves within one process; checked before any allocation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from torch import Tensor

from common.device import CPU
from common.wire.reasons import Reason, fail, show
from common.wire.salt import plain_size, salted, salted_size, unsalted

STYPE = "raw"
"""Neither npy nor pickle: the bytes hold values and salt, so there is nothing to parse."""

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


class HeldArray(Array):
    """An Array that holds a tensor, on whatever device, in place of bytes; they are made when they are read.

    Within one process nothing needs the bytes: what is packed here is unpacked from the tensor. Pickle and
    Flower's serialisation give a plain Array, so none ever comes over a network. Nobody writes to the tensor,
    so copies share it; an array whose fields are changed becomes a plain one.
    """

    storage: ClassVar[str] = STYPE

    def __init__(self, tensor: Tensor, dtype: str) -> None:
        """Takes ``tensor``, which nobody may write to any more, of the type that ``dtype`` names."""
        held = {"dtype": dtype, "shape": tuple(tensor.shape), "stype": self.storage, "tensor": tensor}
        self.__dict__.update(held)

    @property
    def held(self) -> Tensor:
        """The tensor itself: not to be written to."""
        tensor: Tensor = self.__dict__["tensor"]
        return tensor

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The bytes, made when they are first asked for."""
        if "made" not in self.__dict__:
            self.__dict__["made"] = self.written(self.held.cpu().numpy())
        made: bytes = self.__dict__["made"]
        return made

    def written(self, values: np.ndarray) -> bytes:
        """Little-endian values, row by row, and the salt."""
        return salted(values.astype(_NUMPY[self.dtype], copy=False))

    def deflate(self) -> bytes:
        """As a plain Array, which is what an object of Flower's says that it is."""
        plain = Array(self.dtype, self.shape, self.stype, self.data)
        plain.__dict__["_chunks"] = self.slice_array()  # hashed once
        return plain.deflate()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("dtype", "shape", "stype", "data"):
            data = self.data
            for own in ("tensor", "made"):
                del self.__dict__[own]
            self.__class__ = Array  # type: ignore[assignment]
            self.__dict__["data"] = data
        Array.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Array):
            return self is other
        same = (self.dtype, self.shape, self.stype) == (other.dtype, other.shape, other.stype)
        return same and _plain(self) == _plain(other)

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> HeldArray:
        return type(self)(self.held, self.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> HeldArray:
        return self.__copy__()

    def __reduce__(self) -> tuple[type[Array], tuple[str, tuple[int, ...], str, bytes]]:
        return Array, (self.dtype, self.shape, self.stype, self.data)


def pack(tensor: Tensor, dtype: str) -> Array:
    """A snapshot of ``tensor`` as ``dtype``, which must hold it exactly or be a chosen rounding."""
    contiguous = torch.contiguous_format
    snapshot = tensor.detach().to(_TORCH[dtype], copy=True, memory_format=contiguous)
    return HeldArray(snapshot, dtype)


def as_record(arrays: Mapping[str, Array]) -> ArrayRecord:
    """The arrays as they are; the constructor of ArrayRecord would read the bytes of each."""
    record = ArrayRecord()
    for name, array in arrays.items():
        record[name] = array
    return record


def num_bytes(array: Array) -> int:
    """Bytes of the values; 0 where there are none but something else."""
    if isinstance(array, HeldArray):
        return math.prod(array.shape) * np.dtype(_NUMPY[array.dtype]).itemsize
    if not isinstance(array.data, bytes):
        return 0
    return plain_size(array.data) if array.stype == STYPE else len(array.data)


def _plain(array: Array) -> bytes:
    return unsalted(array.data, "|u1").tobytes() if array.stype == STYPE else array.data


def unpack(array: Array, field: str, dtype: str, shape: Shape, device: torch.device = CPU) -> Tensor:
    """A fresh writable tensor of exactly ``dtype`` and ``shape`` on ``device``; no broadcasting, no casting.

    Raises WireError. The allocation is as large as the bytes that already arrived, never larger.
    """
    values = read(array, field, dtype, shape, device)
    return values.clone() if isinstance(array, HeldArray) and values is array.held else values


def read(array: Array, field: str, dtype: str, shape: Shape, device: torch.device) -> Tensor:
    """As :func:`unpack`, but of an array that holds its tensor on ``device`` it is that tensor itself.

    Nobody may write to it. Raises WireError.
    """
    declared = check(array, field, dtype, shape)
    if isinstance(array, HeldArray):
        return array.held.to(device)
    values = unsalted(array.data, _NUMPY[dtype])
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(native.reshape(declared)).to(device)


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
    if isinstance(array, HeldArray):
        return declared  # a tensor of that type and shape has as many bytes
    if not isinstance(array.data, bytes):
        fail(field, Reason.TYPE, f"expected bytes, found {type(array.data).__name__}")
    # Python integers: no overflow
    size = salted_size(math.prod(declared) * np.dtype(_NUMPY[dtype]).itemsize)
    if len(array.data) != size:
        detail = f"{show(declared)} {dtype} is {size} bytes with its salt, found {len(array.data)}"
        fail(field, Reason.SIZE, detail)
    return declared


def _fits(size: int, expected: int | range) -> bool:
    return size in expected if isinstance(expected, range) else size == expected


def _expected(shape: Shape) -> str:
    sizes = [f"{s.start}..{s.stop - 1}" if isinstance(s, range) else str(s) for s in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


def within(field: str, values: Tensor, low: int, high: int | None = None) -> None:
    """Every value lies in low..high (no upper bound when None). Raises WireError."""
    if values.numel() == 0:
        return
    outside = values < low if high is None else (values < low) | (values > high)
    if bool(outside.any()):
        smallest, largest = (int(end) for end in values.aminmax())
        limit = f"{low}..{high}" if high is not None else f"at least {low}"
        fail(field, Reason.RANGE, f"expected {limit}, found {smallest}..{largest}")


def ascending(field: str, values: Tensor) -> None:
    """Strictly ascending, hence unique. Raises WireError that tells repetition from disorder."""
    if bool((values[1:] > values[:-1]).all()):
        return
    unique(field, values)
    fail(field, Reason.ORDER, "expected ascending numbers")


def unique(field: str, values: Tensor) -> None:
    """No value twice. Raises WireError."""
    ordered = values.sort().values
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        fail(field, Reason.DUPLICATE, f"{int(repeated[0])} appears more than once")


def finite(field: str, values: Tensor, detail: str = "NaN or infinite values") -> None:
    """No NaN and no infinity: neither can hide from the least and the largest value. Raises WireError."""
    if values.numel() and not bool(torch.stack(values.aminmax()).isfinite().all()):
        fail(field, Reason.NOT_FINITE, detail)
