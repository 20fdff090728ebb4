"""Tasks and updates of several slices on the wire: the number of each device's own, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from flwr.app import RecordDict
from hypothesis import given

from common import wire
from common.config import TrainConfig
from common.updates import DeviceUpdates, UpdateSpec
from tests.common.wire import samples
from tests.common.wire.breaking import Change, refused, with_values, without
from tests.common.wire.mutations import Damage, damage
from tests.common.wire.samples import ROUND, RUN, K
from tests.common.wire.test_mutations import MANY, changes, decoded
from tests.common.wire.test_round_trip import over_the_wire, same

SLICES = torch.tensor([[2, 3, 7, 11, 20], [1, 4, 5, 6, 19], [8, 9, 10, 12, 13]], dtype=torch.int32)
FLAT = SLICES.flatten()
SPEC = samples.spec(items=SLICES)


def updates(*numbers: int) -> DeviceUpdates:
    """A device for each number of a slice."""
    sent = samples.updates(n=len(numbers))
    idle = torch.zeros(0, dtype=torch.int64)
    return replace(sent, items=SLICES, slice=torch.tensor(numbers, dtype=torch.int64), idle=idle)


def sent(*numbers: int, dtype: str = "float32") -> RecordDict:
    return over_the_wire(wire.encode_updates(updates(*numbers), RUN, ROUND, dtype))  # type: ignore[arg-type]


def test_updates_arrive_with_the_slices_of_their_devices() -> None:
    same(updates(0, 2, 2, 0), wire.decode_updates(sent(0, 2, 2, 0), SPEC))
    coarse = wire.decode_updates(sent(1, 0, 2, 1, dtype="float16"), SPEC)
    assert coarse.slice is not None
    assert coarse.slice.tolist() == [1, 0, 2, 1]
    torch.testing.assert_close(coarse.rows, updates(1, 0, 2, 1).rows, rtol=0, atol=2e-3)
    assert len(wire.decode_updates(sent(), SPEC)) == 0


def test_a_reply_names_the_items_of_its_own_slices_alone() -> None:
    """A phone repeats K items, however many slices there are."""
    arrays = sent(2).array_records["arrays"]
    assert arrays["items"].shape == (K,)
    assert arrays["slice"].dtype == "uint8"
    assert arrays["rows"].shape == (1, K, 2)


CASES: list[tuple[Change, str, str]] = [
    (with_values("slice", torch.tensor([0, 2, 3, 0]), "uint8"), "slice", "range"),  # none of the round's
    (with_values("slice", torch.tensor([0, 1, 1, 0]), "uint8"), "items", "unexpected"),  # another's rows
    (with_values("slice", torch.tensor([0, 2]), "uint8"), "slice", "shape"),
    (with_values("slice", torch.tensor([0, 2, 2, 0]), "int64"), "slice", "dtype"),
    (with_values("items", FLAT, "int32"), "items", "shape"),  # of all slices
    (with_values("items", torch.cat([SLICES[2], SLICES[0]]), "int32"), "items", "unexpected"),
    (without("arrays", "slice"), "arrays.slice", "missing"),
]


@pytest.mark.parametrize(("change", "field", "reason"), CASES)
def test_a_wrong_number_is_refused_with_its_reason(change: Change, field: str, reason: str) -> None:
    record = sent(0, 2, 2, 0)
    change(record)
    refused(field, reason, lambda: wire.decode_updates(record, SPEC))


def test_a_round_of_one_slice_takes_no_number() -> None:
    record = wire.encode_updates(samples.updates(), RUN, ROUND)
    with_values("slice", torch.zeros(4), "uint8")(record)
    refused("arrays", "unexpected", lambda: wire.decode_updates(record, samples.spec()))


def task(items: torch.Tensor, slices: int = 3) -> RecordDict:
    config = TrainConfig(slices=slices)
    made = samples.train_task(items=items, log_q=torch.full((len(items),), -1.0), train_config=config)
    return over_the_wire(wire.encode_train_task(made))


def test_a_task_names_all_slices() -> None:
    got = wire.decode_train_task(task(FLAT))
    assert torch.equal(got.rows, SLICES)
    assert torch.equal(got.of_slice(1).items, SLICES[1])
    assert len(got.of_slice(1).log_q) == K


def swapped(items: torch.Tensor, one: int, other: int) -> torch.Tensor:
    items = items.clone()
    items[[one, other]] = items[[other, one]]
    return items


BROKEN: list[tuple[Callable[[], RecordDict], str]] = [
    (lambda: task(FLAT[:-1]), "shape"),
    (lambda: task(swapped(FLAT, 0, 1)), "order"),
    (lambda: task(torch.cat([FLAT[:10], FLAT[:5]])), "duplicate"),
]


@pytest.mark.parametrize(("make", "reason"), BROKEN)
def test_slices_are_of_one_size_ascending_and_disjoint(make: Callable[[], RecordDict], reason: str) -> None:
    refused("items", reason, lambda: wire.decode_train_task(make()))


def test_a_full_reply_is_within_the_limit() -> None:
    n = 10
    spec = replace(SPEC, devices=torch.arange(10, 10 + n))
    assert len(wire.decode_updates(sent(*[k % 3 for k in range(n)]), spec)) == n
    one = UpdateSpec(RUN, ROUND, 6, 2, SLICES[0], 20, spec.devices)
    assert spec.limit == one.limit  # by the rows of one slice


@given(changes=changes)
@MANY
def test_whatever_is_done_to_a_reply_a_device_has_one_of_the_slices(changes: list[Damage]) -> None:
    record = damage(wire.encode_updates(updates(0, 2, 2, 1), RUN, ROUND, "float32"), changes)
    got = decoded(lambda r: wire.decode_updates(r, SPEC), record)
    if got is not None:
        assert got.slice is not None
        assert (got.slice.shape, got.slice.dtype) == ((len(got),), torch.int64)
        assert set(got.slice.tolist()) <= {0, 1, 2}
        assert got.rows.shape == (len(got), K, 2)
        assert torch.equal(got.items, SLICES)


@given(changes=changes)
@MANY
def test_whatever_is_done_to_a_task_its_slices_are_disjoint(changes: list[Damage]) -> None:
    got = decoded(wire.decode_train_task, damage(task(FLAT), changes))
    if got is not None:
        assert len(set(got.items.tolist())) == len(got.items)
        assert got.rows.sort(dim=-1).values.equal(got.rows)
