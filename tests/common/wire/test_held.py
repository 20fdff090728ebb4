"""Arrays that hold their tensor: what is decoded from them, or refused, is what their bytes would give."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from common import wire
from common.errors import WireError
from common.wire.arrays import HeldArray, as_record, num_bytes, pack, unpack
from common.wire.salt import SALT, unsalted
from server.records.model_record import from_record, to_record
from tests.common.wire import samples
from tests.common.wire.samples import ROUND, RUN
from tests.common.wire.test_round_trip import over_the_wire, same

DTYPES = {
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
}
NUMBERS = [0, 1, 2, 3, 5, 7, 11, 20, 21, 300, -1, -300]


def found(decode: Callable[[RecordDict], Any], record: RecordDict) -> Any:
    """What is decoded, or field and text of the refusal."""
    try:
        return decode(record)
    except WireError as error:
        return error.field, error.reason, str(error)


def alike(decode: Callable[[RecordDict], Any], record: RecordDict) -> None:
    held = list(record.array_records["arrays"].values())
    assert all(isinstance(array, HeldArray) for array in held)
    from_tensors = found(decode, record)
    assert not any("made" in array.__dict__ for array in held), "bytes were made"
    from_bytes = found(decode, over_the_wire(record))
    if isinstance(from_bytes, tuple):
        assert from_tensors == from_bytes
    else:
        for one, other in zip(vars(from_tensors).values(), vars(from_bytes).values(), strict=True):
            if isinstance(one, torch.Tensor):  # NaN equals itself here
                torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
            else:
                same(one, other)


@given(
    dtype=st.sampled_from(["float16", "float32"]),
    negatives=st.sampled_from(["slice", "full", "device"]),
    seed=st.integers(0, 50),
    value=st.sampled_from([0.0, -0.0, 1e-42, 1e30, float("nan"), float("inf"), -float("inf")]),
    numbers=st.none() | st.lists(st.sampled_from(NUMBERS), min_size=samples.K, max_size=samples.K),
    devices=st.none() | st.lists(st.sampled_from([10, 11, 12, 13, 99]), min_size=4, max_size=4),
    kept=st.integers(0, samples.N),
)
@settings(max_examples=150)
def test_updates(
    dtype: Any,
    negatives: Any,
    seed: int,
    value: float,
    numbers: list[int] | None,
    devices: list[int] | None,
    kept: int,
) -> None:
    sent = samples.updates(negatives, seed=seed)
    sent.rows[1, 0, 0] = value
    sent.encoder[2] = value
    if numbers is not None:
        sent.items[:] = torch.tensor(numbers)
    if devices is not None:
        sent.device[:] = torch.tensor(devices)
    record = wire.encode_updates(sent.take(torch.arange(kept)), RUN, ROUND, dtype)
    alike(lambda r: wire.decode_updates(r, samples.spec(negatives)), record)


@given(
    items=st.lists(st.sampled_from(NUMBERS), max_size=6),
    devices=st.lists(st.sampled_from(NUMBERS), max_size=4),
    log_q=st.sampled_from([0.0, -1.0, -61.0, 1.0, float("nan"), -float("inf")]),
    value=st.sampled_from([0.5, float("nan"), float("inf")]),
)
@settings(max_examples=100)
def test_training_tasks(items: list[int], devices: list[int], log_q: float, value: float) -> None:
    task = samples.train_task(
        items=torch.tensor(items, dtype=torch.int32),
        log_q=torch.full((len(items),), log_q),
        devices=torch.tensor(devices, dtype=torch.int64),
    )
    task.model.table[3, 1] = value
    alike(wire.decode_train_task, wire.encode_train_task(task))


@given(targets=st.lists(st.sampled_from(NUMBERS), max_size=4), value=st.sampled_from([0.5, float("nan")]))
@settings(max_examples=50)
def test_evaluation_tasks(targets: list[int], value: float) -> None:
    task = samples.evaluate_task(targets=tuple(targets))
    task.model.encoder[0] = value
    alike(wire.decode_evaluate_task, wire.encode_evaluate_task(task))


def test_sums_and_enrolments() -> None:
    alike(lambda r: wire.decode_enrolment(r, 3), wire.encode_enrolment(samples.enrolment()))
    record = wire.encode_evaluate_sums(samples.sums(), RUN, ROUND)
    alike(lambda r: wire.decode_evaluate_sums(r, samples.sums_spec()), record)


@given(
    dtype=st.sampled_from(sorted(DTYPES)),
    asked=st.sampled_from(sorted(DTYPES)),
    shape=st.lists(st.integers(0, 3), max_size=3),
    wanted=st.lists(st.integers(0, 3) | st.just(range(4)), max_size=3),
)
@settings(max_examples=200)
def test_one_array(dtype: str, asked: str, shape: list[int], wanted: list[Any]) -> None:
    values = torch.arange(int(np.prod(shape)), dtype=torch.float64).reshape(shape)
    held = pack(values, dtype)
    plain = Array(held.dtype, held.shape, held.stype, held.data)
    assert num_bytes(held) == num_bytes(plain) == len(plain.data) - SALT
    results = []
    for array in (held, plain):
        try:
            results.append(unpack(array, "x", asked, tuple(wanted)))
        except WireError as error:
            results.append(str(error))
    if isinstance(results[1], str):
        assert results[0] == results[1]
    else:
        assert results[0].dtype == results[1].dtype == DTYPES[asked]
        assert torch.equal(results[0], results[1])


def test_it_is_a_snapshot_and_what_is_unpacked_is_another() -> None:
    tensor = torch.arange(3.0)
    array = pack(tensor, "float32")
    tensor[0] = 9
    first = unpack(array, "x", "float32", (3,))
    first[1] = 9
    assert unpack(array, "x", "float32", (3,)).tolist() == [0, 1, 2]
    assert unsalted(array.data, "<f4").tolist() == [0, 1, 2]


def test_copies_share_the_tensor_and_a_changed_one_is_a_plain_array() -> None:
    array = pack(torch.arange(3.0), "float32")
    other = copy.deepcopy(array)
    assert isinstance(other, HeldArray)
    assert other.held is array.held  # type: ignore[attr-defined]
    assert other == array
    other.data = b"123"
    assert type(other) is Array
    assert (other.data, other.shape, other.dtype) == (b"123", (3,), "float32")
    assert other != array
    assert unpack(array, "x", "float32", (3,)).tolist() == [0, 1, 2]


def test_over_pickle_and_flowers_objects_it_is_a_plain_array_of_the_same_bytes() -> None:
    array = pack(torch.arange(3.0), "float32")
    plain = Array("float32", (3,), "raw", array.data)
    assert array == plain
    assert plain == array
    assert array.deflate() == plain.deflate()
    assert array.object_id == plain.object_id
    assert type(pickle.loads(pickle.dumps(array))) is Array
    assert type(ArrayRecord({"x": array})["x"]) is Array
    assert as_record({"x": array})["x"] is array


def test_the_record_of_a_model_is_what_flower_makes_of_it() -> None:
    model = samples.model()
    record = to_record(model)
    for name in ("encoder", "table"):
        flowers = Array(getattr(model, name).numpy())
        assert record[name] == flowers
        assert np.array_equal(record[name].numpy(), flowers.numpy())
    over = ArrayRecord(dict(record))
    same(from_record(over), model)


@pytest.mark.parametrize("name", ["rows", "encoder"])
def test_a_scale_that_no_honest_sender_has_is_refused_alike(name: str) -> None:
    for value in (float("nan"), float("inf"), -1.0):
        record = wire.encode_updates(samples.updates(), RUN, ROUND)
        arrays = record.array_records["arrays"]
        arrays[f"{name}_scale"] = pack(torch.full((samples.N,), value), "float32")
        alike(lambda r: wire.decode_updates(r, samples.spec()), record)
