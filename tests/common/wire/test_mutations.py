"""Whatever is done to a message, decoding answers with WireError or with a value that keeps its contract."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable
from typing import Literal, TypeVar, get_args

import pytest
import torch
from flwr.app import RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from common import wire
from common.errors import WireError
from common.tasks import Enrolment, EvaluateSums, EvaluateTask, TrainTask
from common.updates import DeviceUpdates
from common.wire import Reason
from common.wire.arrays import ascending, unique
from tests.common.wire import samples
from tests.common.wire.mutations import RECORDS, Damage, damage, damages
from tests.common.wire.samples import ITEMS, ROUND, RUN, D, Negatives, P

NEGATIVES: tuple[Negatives, ...] = get_args(Negatives)
MANY = settings(max_examples=150)
changes = st.lists(damages(), min_size=1, max_size=3)
T = TypeVar("T")
REASONS = {reason.value for reason in Reason}


def decoded(decode: Callable[[RecordDict], T], record: RecordDict) -> T | None:
    """The value, or None when refused; any other exception fails the test."""
    try:
        return decode(record)
    except WireError as refusal:
        error = refusal
    assert error.reason in REASONS
    assert len(str(error)) < 1000
    return None


def check_updates(got: DeviceUpdates, negatives: Negatives) -> None:
    n, k = len(got), len(got.items)
    assert got.encoder.shape == (n, P)
    assert got.rows.shape == (n, k, D)
    assert got.encoder.dtype == got.rows.dtype == torch.float32
    assert (got.history.shape, got.history.dtype) == ((n,), torch.int32)
    assert (got.device.shape, got.device.dtype) == ((n,), torch.int64)
    assert (got.items.shape, got.items.dtype) == ((k,), torch.int32)
    assert set(got.device.tolist()) <= set(range(10, 20))
    unique("device", got.device)
    ascending("items", got.items)
    assert all(1 <= i <= ITEMS for i in got.items.tolist())
    assert (got.touched is not None) == (negatives == "device")
    if got.touched is not None:
        assert (got.touched.shape, got.touched.dtype) == ((n, k), torch.bool)


@given(changes=changes, negatives=st.sampled_from(NEGATIVES), half=st.booleans())
@MANY
def test_updates(changes: list[Damage], negatives: Negatives, half: bool) -> None:
    dtype: Literal["float16", "float32"] = "float16" if half else "float32"
    record = damage(wire.encode_updates(samples.updates(negatives), RUN, ROUND, dtype), changes)
    got = decoded(lambda r: wire.decode_updates(r, samples.spec(negatives)), record)
    if got is not None:
        check_updates(got, negatives)


@given(changes=changes)
@MANY
def test_train_tasks(changes: list[Damage]) -> None:
    got = decoded(wire.decode_train_task, damage(wire.encode_train_task(samples.train_task()), changes))
    if got is not None:
        assert isinstance(got, TrainTask)
        assert got.model.table.shape[1] == got.model_config.dim
        assert got.log_q.shape == got.items.shape
        assert bool(got.model.table.isfinite().all())
        assert all(1 <= i < len(got.model.table) for i in got.items.tolist())
        assert all(d >= 0 for d in got.devices.tolist())


@given(changes=changes)
@MANY
def test_evaluate_tasks(changes: list[Damage]) -> None:
    record = damage(wire.encode_evaluate_task(samples.evaluate_task()), changes)
    got = decoded(wire.decode_evaluate_task, record)
    if got is not None:
        assert isinstance(got, EvaluateTask)
        assert got.split in ("valid", "test")
        assert list(got.quartiles) == sorted(got.quartiles)
        assert all(1 <= t < len(got.model.table) for t in got.targets)


@given(changes=changes)
@MANY
def test_sums(changes: list[Damage]) -> None:
    record = damage(wire.encode_evaluate_sums(samples.sums(), RUN, ROUND), changes)
    got = decoded(lambda r: wire.decode_evaluate_sums(r, samples.sums_spec()), record)
    if got is not None:
        assert isinstance(got, EvaluateSums)
        assert 0 <= int(got.count[0]) <= 12
        assert int(got.eligible.max()) <= int(got.count[0])
        assert bool(((got.metrics >= 0) & (got.metrics <= got.count[:, None] * 1.001)).all())
        assert math.isfinite(float(got.exposure.sum()))


@given(changes=changes)
@MANY
def test_enrolments(changes: list[Damage]) -> None:
    record = damage(wire.encode_enrolment(samples.enrolment()), changes)
    got = decoded(lambda r: wire.decode_enrolment(r, limit=3), record)
    if got is not None:
        assert isinstance(got, Enrolment)
        assert len(got.devices) == len(got.history) <= 3
        assert got.devices.tolist() == sorted(set(got.devices.tolist()))
        assert bool((got.history >= 0).all())


@given(
    records=st.dictionaries(st.sampled_from(["meta", "arrays"]) | st.text(max_size=3), RECORDS, max_size=3)
)
@MANY
def test_records_from_nowhere_are_refused_by_every_decoder(records: dict[str, object]) -> None:
    record = RecordDict(records)  # type: ignore[arg-type]
    assert decoded(lambda r: wire.decode_updates(r, samples.spec()), record) is None
    assert decoded(wire.decode_train_task, record) is None
    assert decoded(wire.decode_evaluate_task, record) is None
    assert decoded(lambda r: wire.decode_evaluate_sums(r, samples.sums_spec()), record) is None
    assert decoded(lambda r: wire.decode_enrolment(r, limit=3), record) is None


@pytest.mark.parametrize("shape", [(2**29,), (2**29, 1, 1), (4, 2**26, 2), (2**40,), (2**62, 2, 2)])
@pytest.mark.parametrize("data", [b"", b"\0" * 64])
def test_a_tiny_payload_never_takes_much_memory(shape: tuple[int, ...], data: bytes) -> None:
    """By the peak of the process: tracemalloc does not see what torch allocates."""
    messages: list[tuple[RecordDict, Callable[[RecordDict], object]]] = [
        (
            wire.encode_updates(samples.updates("device"), RUN, ROUND, "float32"),
            lambda r: wire.decode_updates(r, samples.spec("device", num_items=2**30, num_parameters=2**29)),
        ),
        (wire.encode_train_task(samples.train_task()), wire.decode_train_task),
        (wire.encode_enrolment(samples.enrolment()), lambda r: wire.decode_enrolment(r, 2**40)),
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for record, decode in messages:
        for array in record.array_records["arrays"].values():
            array.shape, array.data = shape, data
            assert decoded(decode, record) is None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024  # KiB
