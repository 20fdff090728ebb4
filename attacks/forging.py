"""Taking a sealed reply apart and sealing it again, for attacks on the protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Array, ConfigRecord, RecordDict

from common.wire.arrays import STYPE, as_record
from common.wire.salt import salted, unsalted

Arrays = dict[str, Array]
Meta = dict[str, Any]


def opened(reply: RecordDict) -> tuple[Arrays, Meta]:
    """Copies of the two parts, free to change."""
    return dict(reply.array_records["arrays"]), dict(reply.config_records["meta"])


def sealed(arrays: Arrays, meta: Meta) -> RecordDict:
    """A message in the usual envelope."""
    return RecordDict({"meta": ConfigRecord(meta), "arrays": as_record(arrays)})


def read(array: Array) -> np.ndarray[Any, Any]:
    """The values of an array, writable."""
    dtype = np.dtype(array.dtype).newbyteorder("<")
    return unsalted(array.data, dtype.str).reshape(array.shape)


def write(values: np.ndarray[Any, Any]) -> Array:
    """An array that is what it declares to be."""
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return Array(dtype=values.dtype.name, shape=values.shape, stype=STYPE, data=salted(little))
