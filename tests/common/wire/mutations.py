"""Arbitrary damage to a message, as hypothesis strategies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import strategies as st

from common.wire.salt import salted

NAMES = st.sampled_from(
    [
        "meta",
        "arrays",
        "rows",
        "encoder",
        "device",
        "devices",
        "items",
        "history",
        "table",
        "touched",
        "slice",
        "x",
    ]
) | st.text(max_size=5)
SIZES = st.sampled_from([0, 1, 2, 4, 5, -1, True, 2**31, 2**63, 10**5000]) | st.integers()
SHAPES = st.lists(SIZES, max_size=4).map(tuple)
TYPES = st.sampled_from(
    ["float16", "float32", "float64", "int32", "int64", "uint8", "object", "<U9", "", "raw"]
)
WORDS = st.sampled_from([0, 1, 0x7FC00000, 0x7F800000, 0xFF800000, 0xFFFFFFFF, 0x7BFF7BFF, 0x80000000])
PLAIN = st.binary(max_size=64) | st.lists(WORDS, max_size=40).map(lambda w: np.array(w, "<u4").tobytes())
BYTES = PLAIN | PLAIN.map(lambda data: salted(np.frombuffer(data, np.uint8)))
SCALARS: list[st.SearchStrategy[Any]] = [
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(max_size=9),
    st.text(st.characters(), max_size=9),
    st.sampled_from(["float16", "device", "\ud800", "[" * 999, '{"dim": 2}', "x" * 70_000]),
]
VALUES = st.one_of(*SCALARS, *(st.lists(s, max_size=3) for s in SCALARS[:5]))
ARRAYS = st.builds(
    lambda dtype, shape, stype, data: Array(dtype, shape, stype, data), TYPES, SHAPES, TYPES, BYTES
)
RECORDS = st.one_of(
    st.builds(ConfigRecord),
    st.builds(lambda v: MetricRecord({"round": v}), st.integers() | st.floats()),
    st.dictionaries(NAMES, ARRAYS, max_size=3).map(ArrayRecord),
    st.dictionaries(NAMES, VALUES, max_size=3).map(ConfigRecord),
)
ATTRIBUTES = st.one_of(
    st.tuples(st.just("dtype"), TYPES),
    st.tuples(st.just("stype"), TYPES),
    st.tuples(st.just("shape"), SHAPES),
    st.tuples(st.just("data"), BYTES),
)

Damage = Callable[[RecordDict], None]


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """One change of a message that still has both of its records; otherwise nothing."""
    kind = draw(st.sampled_from(["record", "drop", "rename", "value", "array", "attribute", "cut", "flip"]))
    pick, name = draw(st.integers(0, 99)), draw(NAMES)
    value, array, record, attribute = draw(VALUES), draw(ARRAYS), draw(RECORDS), draw(ATTRIBUTES)

    def apply(message: RecordDict) -> None:
        if kind == "record":
            message.pop(name, None)
            message[name] = record
        held = list(message.values())[pick % max(1, len(message))] if message else ConfigRecord()
        if not len(held):
            return
        key = list(held)[pick % len(held)]
        if kind == "drop":
            del held[key]
        elif kind == "rename":
            held[name] = held.pop(key)  # type: ignore[assignment]
        elif isinstance(held, ConfigRecord) and kind == "value":
            held[key] = value
        elif isinstance(held, ArrayRecord):
            _damage_array(held, key, kind, array, attribute, pick)

    return apply


def _damage_array(
    held: ArrayRecord, key: str, kind: str, array: Array, attribute: tuple[str, Any], pick: int
) -> None:
    if kind == "array":
        held[key] = array
    elif kind == "attribute":
        setattr(held[key], *attribute)
    elif kind == "cut":
        held[key].data = held[key].data[:-1]
    elif kind == "flip" and held[key].data:
        data = bytearray(held[key].data)
        data[pick % len(data)] ^= 0xFF
        held[key].data = bytes(data)


def damage(message: RecordDict, changes: list[Damage]) -> RecordDict:
    """The same message, changed in place by each in turn."""
    for change in changes:
        change(message)
    return message
