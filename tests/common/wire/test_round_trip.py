"""What is encoded is what is decoded, through Flower's own serialisation too."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from flwr.app import RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from hypothesis import given, settings
from hypothesis import strategies as st

from common import wire
from common.sampling import ALL, Sample
from common.wire.arrays import num_bytes, pack, unpack
from common.wire.salt import unsalted
from tests.common.wire import samples
from tests.common.wire.samples import ROUND, RUN, Negatives

NEGATIVES: tuple[Negatives, ...] = get_args(Negatives)


def same(left: Any, right: Any) -> None:
    """Equal field by field, tensors in dtype, shape and value."""
    if isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype
        assert torch.equal(left, right)
    elif hasattr(left, "__dataclass_fields__"):
        for f in fields(left):
            same(getattr(left, f.name), getattr(right, f.name))
    else:
        assert left == right


def over_the_wire(record: RecordDict) -> RecordDict:
    """Through Flower's protobuf bytes."""
    proto = recorddict_to_proto(record)
    return recorddict_from_proto(type(proto).FromString(proto.SerializeToString()))


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_updates_in_float32_are_exact(negatives: Negatives) -> None:
    sent = replace(samples.updates(negatives), idle=torch.zeros(0, dtype=torch.int64))
    record = over_the_wire(wire.encode_updates(sent, RUN, ROUND, "float32"))
    same(sent, wire.decode_updates(record, samples.spec(negatives)))


@pytest.mark.parametrize("negatives", NEGATIVES)
def test_updates_in_float16_keep_numbers_and_mask(negatives: Negatives) -> None:
    sent = samples.updates(negatives)
    got = wire.decode_updates(wire.encode_updates(sent, RUN, ROUND), samples.spec(negatives))
    assert got.rows.dtype == torch.float32
    torch.testing.assert_close(got.rows, sent.rows, rtol=0, atol=2**-10 * float(sent.rows.abs().max()))
    for name in ("items", "history", "device", "touched"):
        same(getattr(sent, name), getattr(got, name))


@given(exponent=st.floats(-44, 37), seed=st.integers(0, 99), dead=st.booleans())
@settings(max_examples=60)
def test_tiny_and_huge_gradients_survive_float16(exponent: float, seed: int, dead: bool) -> None:
    g = torch.Generator().manual_seed(seed)
    sent = samples.updates(seed=seed)
    sent.rows.mul_(10.0**exponent)
    sent.encoder[0].mul_(1e-30 * torch.rand((), generator=g))
    if dead:
        sent.rows[1] = 0
    got = wire.decode_updates(wire.encode_updates(sent, RUN, ROUND), samples.spec())
    for name in ("encoder", "rows"):
        ours, theirs = getattr(sent, name).flatten(1), getattr(got, name).flatten(1)
        largest = ours.abs().amax(dim=1, keepdim=True)
        slack = float(np.nextafter(np.float32(0), np.float32(1)))  # one step of float32 itself
        assert bool(((ours - theirs).abs() <= largest * 2**-10 + slack).all())


def test_a_device_with_not_a_number_does_not_spoil_its_neighbours() -> None:
    sent = samples.updates()
    sent.rows[1, 0, 0] = float("nan")
    sent.encoder[1, 1] = float("inf")
    got = wire.decode_updates(wire.encode_updates(sent, RUN, ROUND), samples.spec())
    assert bool(got.rows[1, 0, 0].isnan())
    assert bool(got.encoder[1, 1].isinf())
    others = torch.tensor([0, 2, 3])
    torch.testing.assert_close(got.rows[others], sent.rows[others], rtol=0, atol=4e-3)


def test_an_empty_reply_and_a_part_of_the_devices_are_fine() -> None:
    nobody = samples.updates().take(torch.tensor([], dtype=torch.int64))
    assert len(wire.decode_updates(wire.encode_updates(nobody, RUN, ROUND), samples.spec())) == 0
    one = samples.updates().take(torch.tensor([2]))
    got = wire.decode_updates(over_the_wire(wire.encode_updates(one, RUN, ROUND)), samples.spec())
    assert got.device.tolist() == [12]


def test_float16_halves_the_message() -> None:
    sizes = [
        sum(
            num_bytes(a)
            for a in wire.encode_updates(samples.updates(), RUN, ROUND, d).array_records["arrays"].values()
        )
        for d in ("float16", "float32")
    ]
    values = samples.N * (samples.P + samples.K * samples.D)
    assert sizes[1] - sizes[0] == 2 * values - 2 * 4 * samples.N


def test_tasks_sums_and_enrolment() -> None:
    train, evaluate = samples.train_task(), samples.evaluate_task()
    same(train, wire.decode_train_task(over_the_wire(wire.encode_train_task(train))))
    same(evaluate, wire.decode_evaluate_task(over_the_wire(wire.encode_evaluate_task(evaluate))))
    part = samples.evaluate_task(sample=Sample("5a" * 32, ALL - 1))
    found = wire.decode_evaluate_task(over_the_wire(wire.encode_evaluate_task(part)))
    assert found.sample == part.sample
    assert evaluate.sample is None
    sums, enrolment = samples.sums(), samples.enrolment()
    record = over_the_wire(wire.encode_evaluate_sums(sums, RUN, ROUND))
    same(sums, wire.decode_evaluate_sums(record, samples.sums_spec()))
    same(enrolment, wire.decode_enrolment(over_the_wire(wire.encode_enrolment(enrolment)), limit=3))


def test_no_targets_no_devices_no_items() -> None:
    none = torch.tensor([], dtype=torch.int64)
    train = samples.train_task(devices=none, items=none.int(), log_q=none.float())
    same(train, wire.decode_train_task(over_the_wire(wire.encode_train_task(train))))
    evaluate = samples.evaluate_task(targets=())
    same(evaluate, wire.decode_evaluate_task(over_the_wire(wire.encode_evaluate_task(evaluate))))
    record = over_the_wire(wire.encode_evaluate_sums(samples.sums(targets=0), RUN, ROUND))
    same(samples.sums(targets=0), wire.decode_evaluate_sums(record, samples.sums_spec(targets=0)))


def test_the_bytes_are_little_endian_and_a_decoded_tensor_is_writable() -> None:
    array = pack(torch.tensor([1, 258]), "int32")
    assert unsalted(array.data, "|u1").tolist() == [1, 0, 0, 0, 2, 1, 0, 0]
    first, second = (unpack(array, "x", "int32", (2,)) for _ in range(2))
    first[0] = 9
    assert second.tolist() == [1, 258]


def test_views_and_other_memory_orders_are_packed_by_value() -> None:
    square = torch.arange(6.0).reshape(2, 3)
    same(square.T.contiguous(), unpack(pack(square.T, "float32"), "x", "float32", (3, 2)))


def test_the_tasks_of_a_round_are_those_of_each_node_and_share_what_is_large() -> None:
    task = samples.train_task()
    asked = [torch.tensor([4, 9]), torch.tensor([], dtype=torch.int64)]
    found = wire.encode_train_tasks(task, asked)
    for record, devices in zip(found, asked, strict=True):
        alone = wire.encode_train_task(replace(task, devices=devices))
        assert record.array_records == alone.array_records
        same(wire.decode_train_task(over_the_wire(record)), replace(task, devices=devices))
    one, other = (record.array_records["arrays"] for record in found)
    assert one["table"].data is other["table"].data
