"""Malformed messages by name: each is refused with the field and the reason."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
import torch
from flwr.app import Array, ConfigRecord, MetricRecord, RecordDict

from common import wire
from common.wire.arrays import num_bytes
from common.wire.reasons import show
from tests.common.wire import samples
from tests.common.wire.breaking import (
    Change,
    refused,
    with_array,
    with_meta,
    with_record,
    with_values,
    without,
)
from tests.common.wire.samples import ROUND, RUN, D, K, N, Negatives, P


def valid(negatives: Negatives = "slice", dtype: Any = "float32") -> RecordDict:
    return wire.encode_updates(samples.updates(negatives), RUN, ROUND, dtype)


TWO_GIGABYTES = 2**31 // 4

CASES: list[tuple[str, Change, str, str]] = [
    ("no meta", without("meta"), "message.meta", "missing"),
    ("no arrays", without("arrays"), "message.arrays", "missing"),
    ("no rows", without("arrays", "rows"), "arrays.rows", "missing"),
    ("no round", without("meta", "round"), "meta.round", "missing"),
    ("an extra record", lambda r: r.update({"more": ConfigRecord()}), "message", "unexpected"),
    ("an extra array", with_values("bonus", torch.zeros(1), "float32"), "arrays", "unexpected"),
    ("an extra key", with_meta("num-examples", 10**9), "meta", "unexpected"),
    (
        "a mask in the slice protocol",
        with_values("touched", torch.ones(N, K), "uint8"),
        "arrays",
        "unexpected",
    ),
    ("arrays are settings", with_record("arrays", ConfigRecord()), "arrays", "type"),
    ("settings are metrics", with_record("meta", MetricRecord({"round": 3})), "meta", "type"),
    ("a round that is True", with_meta("round", True), "meta.round", "type"),
    ("a round that is 3.0", with_meta("round", 3.0), "meta.round", "type"),
    ("a round in a list", with_meta("round", [3]), "meta.round", "type"),
    ("a negative round", with_meta("round", -1), "meta.round", "range"),
    ("a stale round", with_meta("round", ROUND - 1), "meta.round", "stale"),
    ("a future round", with_meta("round", ROUND + 1), "meta.round", "stale"),
    ("a round of 5000 digits", with_meta("round", 10**5000), "meta.round", "range"),
    ("another run", with_meta("run", "run-8"), "meta.run", "foreign"),
    ("a run of another alphabet", with_meta("run", "\ud800\u202e\x00"), "meta.run", "foreign"),
    ("a run in bytes", with_meta("run", b"run-7"), "meta.run", "type"),
    ("a run of a megabyte", with_meta("run", "x" * 2**20), "meta.run", "oversize"),
    ("another kind", with_meta("kind", "enrolment"), "meta.kind", "unexpected"),
    ("another version", with_meta("version", 1), "meta.version", "version"),
    ("float64 on the wire", with_meta("dtype", "float64"), "meta.dtype", "dtype"),
    ("pickle", with_array("rows", stype="pickle"), "rows", "type"),
    ("npy", with_array("rows", stype="numpy.ndarray"), "rows", "type"),
    ("objects", with_array("rows", dtype="object"), "rows", "dtype"),
    ("half where float32 was announced", with_array("rows", dtype="float16"), "rows", "dtype"),
    ("rows with a (1,) array", with_values("rows", torch.zeros(1), "float32"), "rows", "shape"),
    ("an encoder of one column", with_values("encoder", torch.zeros(N, 1), "float32"), "encoder", "shape"),
    ("a history with a (1,) array", with_values("history", torch.ones(1), "int32"), "history", "shape"),
    ("rows without devices", with_values("rows", torch.zeros(0, K, D), "float32"), "rows", "shape"),
    ("turned rows", with_array("rows", shape=(N, D, K)), "rows", "shape"),
    ("a negative size", with_array("rows", shape=(-N, -K, D)), "rows", "shape"),
    ("a size that is True", with_array("history", shape=(True,)), "history", "shape"),
    ("a shape in a list", with_array("history", shape=[N]), "history", "shape"),
    ("a shape of 5000 digits", with_array("device", shape=(10**5000,)), "device", "shape"),
    ("a million dimensions", with_array("device", shape=(1,) * 10**6), "device", "shape"),
    (
        "2 GB of zeros declared in a tiny payload",
        with_array("device", shape=(TWO_GIGABYTES,)),
        "device",
        "shape",
    ),
    ("2 GB of rows", with_array("rows", shape=(N, TWO_GIGABYTES, D)), "rows", "shape"),
    ("bytes that are missing", with_array("rows", data=b"\0" * 8), "rows", "size"),
    ("one byte too many", with_array("device", data=b"\0" * (8 * N + 1)), "device", "size"),
    ("no bytes", with_array("device", data=b""), "device", "size"),
    ("text for bytes", with_array("device", data="x" * 8 * N), "device", "type"),
    (
        "duplicate devices",
        with_values("device", torch.tensor([10, 11, 12, 10]), "int64"),
        "device",
        "duplicate",
    ),
    (
        "a device not asked",
        with_values("device", torch.tensor([10, 11, 12, 99]), "int64"),
        "device",
        "unknown_device",
    ),
    (
        "a negative device",
        with_values("device", torch.tensor([10, 11, 12, -1]), "int64"),
        "device",
        "unknown_device",
    ),
    ("too many devices", with_values("device", torch.arange(11), "int64"), "device", "shape"),
    ("duplicate rows", with_values("items", torch.tensor([2, 3, 7, 7, 20]), "int32"), "items", "duplicate"),
    ("ids out of range", with_values("items", torch.tensor([2, 3, 7, 11, 21]), "int32"), "items", "range"),
    ("the padding row", with_values("items", torch.tensor([0, 3, 7, 11, 20]), "int32"), "items", "range"),
    ("another slice", with_values("items", torch.tensor([1, 3, 7, 11, 20]), "int32"), "items", "unexpected"),
    ("unsorted items", with_values("items", torch.tensor([3, 2, 7, 11, 20]), "int32"), "items", "order"),
]


@pytest.mark.parametrize(("change", "field", "reason"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_refused(change: Change, field: str, reason: str) -> None:
    record = valid()
    change(record)
    refused(field, reason, lambda: wire.decode_updates(record, samples.spec()))


@pytest.mark.parametrize(
    ("name", "value", "field", "reason"),
    [
        ("rows_scale", float("nan"), "rows_scale", "not_finite"),
        ("encoder_scale", float("inf"), "encoder_scale", "not_finite"),
        ("rows_scale", -1.0, "rows_scale", "range"),
    ],
)
def test_scales_of_float16(name: str, value: float, field: str, reason: str) -> None:
    record = valid(dtype="float16")
    with_values(name, torch.tensor([1.0, value, 1.0, 1.0]), "float32")(record)
    refused(field, reason, lambda: wire.decode_updates(record, samples.spec()))


def test_true_is_not_the_size_one() -> None:
    one = wire.encode_updates(samples.updates(n=1), RUN, ROUND)
    with_array("device", shape=(True,))(one)
    refused("device", "shape", lambda: wire.decode_updates(one, samples.spec()))


def test_own_negatives_need_a_mask_of_zeros_and_ones_and_ascending_items() -> None:
    expect = samples.spec("device")
    bare, odd, unsorted, foreign = (valid("device") for _ in range(4))
    without("arrays", "touched")(bare)
    refused("arrays.touched", "missing", lambda: wire.decode_updates(bare, expect))
    with_values("touched", torch.full((N, K), 2), "uint8")(odd)
    refused("touched", "range", lambda: wire.decode_updates(odd, expect))
    wide = valid("device")
    most = int(samples.updates("device").touched.sum(1).max())  # type: ignore[union-attr]
    assert len(wire.decode_updates(wide, replace(expect, max_touched=most))) == N
    narrow = replace(expect, max_touched=most - 1)
    refused("touched", "range", lambda: wire.decode_updates(wide, narrow))
    large = replace(expect, num_items=10**6)
    assert replace(large, max_touched=50).limit < large.limit / 100
    with_values("items", torch.tensor([2, 3, 7, 20, 11]), "int32")(unsorted)
    refused("items", "order", lambda: wire.decode_updates(unsorted, expect))
    with_values("items", torch.tensor([2, 3, 7, 11, 21]), "int32")(foreign)
    refused("items", "range", lambda: wire.decode_updates(foreign, expect))


def test_a_reply_larger_than_allowed() -> None:
    size = sum(num_bytes(a) for a in valid().array_records["arrays"].values())
    wire.decode_updates(valid(), samples.spec(max_bytes=size))
    refused("arrays", "oversize", lambda: wire.decode_updates(valid(), samples.spec(max_bytes=size - 1)))


def test_a_reply_many_times_too_large_is_not_read() -> None:
    spec = samples.spec()
    assert spec.limit < 2**21 < spec.max_bytes
    record = valid()
    with_values("encoder", torch.zeros(1 << 20), "float32")(record)
    refused("arrays", "oversize", lambda: wire.decode_updates(record, spec))


@pytest.mark.parametrize("negatives", ["slice", "full", "device"])
def test_a_full_reply_is_within_the_limit(negatives: Negatives) -> None:
    count, width, dim, items = 40, 5000, 16, 300
    expect = samples.spec(
        negatives,
        num_parameters=width,
        dim=dim,
        items=torch.arange(1, items + 1, dtype=torch.int32),
        num_items=items,
        devices=torch.arange(count),
    )
    values = 4 * count * (width + items * dim) + count * items + 16 * count + 4 * items
    assert values < expect.limit <= 2 * values + (1 << 20) + 64 * count


@pytest.mark.parametrize("thing", [None, {}, [], b"", {"meta": 1}])
def test_not_a_record_at_all(thing: Any) -> None:
    refused("message", "type", lambda: wire.decode_updates(thing, samples.spec()))


def test_gigabytes_that_fit_the_expected_shape_are_refused_before_allocation() -> None:
    wide = samples.spec(num_parameters=TWO_GIGABYTES, max_bytes=2**40)
    record = valid()
    record.array_records["arrays"]["encoder"] = Array("float32", (N, TWO_GIGABYTES), "raw", b"\0" * 64)
    tracemalloc.start()
    refused("encoder", "size", lambda: wire.decode_updates(record, wide))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_structure_only_is_judged_here() -> None:
    sent = samples.updates()
    sent.rows[0] = float("nan")
    odd = replace(sent, history=torch.tensor([-1, 2**31 - 1, 0, 1], dtype=torch.int32))
    got = wire.decode_updates(wire.encode_updates(odd, RUN, ROUND, "float32"), samples.spec())
    assert got.history.tolist() == [-1, 2**31 - 1, 0, 1]
    assert got.encoder.shape == (N, P)


def test_whatever_a_sender_wrote_is_shown_shortly() -> None:
    for value in (
        "x" * 10**6,
        b"\xff" * 10**6,
        10**6000,
        -(10**6000),
        [[[]]],
        float("nan"),
        None,
        True,
        object(),
    ):
        bottomless: list[object] = [value]
        bottomless.append(bottomless)
        for thing in (value, bottomless, tuple(bottomless)):
            assert len(show(thing)) < 300
            assert show(thing).isascii()
