"""Protocol attacks: what each does to the message, and that the server refuses it for the reason it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from flwr.app import RecordDict

from attacks import ATTACKS, Attack, View, build_attack
from attacks.forging import opened, read, sealed, write
from common import wire
from common.errors import WireError
from common.tasks import TrainTask
from common.updates import DeviceUpdates
from common.wire import UpdateSpec
from emulation.federation import federate
from server.round.admission import Admitted, Reply, admit
from tests.attacks.samples import LENGTHS, cohort, view
from tests.client import samples
from tests.server.federation import config, lines, same_model

REASONS = {
    "inf": "not_finite",
    "oversize": "size",
    "replay": "stale",
    "stale_round": "stale",
    "wrong_dtype": "dtype",
    "wrong_keys": "missing",
    "wrong_shape": "shape",
}
DTYPES = pytest.mark.parametrize("dtype", ["float16", "float32"])
DType = Literal["float16", "float32"]


def spec(task: TrainTask, **changes: Any) -> UpdateSpec:
    asked = torch.arange(len(LENGTHS))
    expected = UpdateSpec(
        task.run, task.round, len(task.model.encoder), samples.DIM, task.items, samples.ITEMS, asked
    )
    return replace(expected, **changes)


def tampered(name: str, task: TrainTask, dtype: DType, seen: View | None = None) -> RecordDict:
    reply = wire.encode_updates(cohort(task).train(), task.run, task.round, dtype)
    return build_attack(name, {}).tamper(reply, seen or view(task))


def judged(record: RecordDict, task: TrainTask) -> Admitted:
    expect = spec(task)
    return admit([Reply(1, expect.devices, record)], expect, max_history=50)


def second_round(name: str, dtype: DType = "float32") -> tuple[RecordDict, TrainTask]:
    """The reply of a node's second attacked round: some attacks need a memory."""
    task = samples.task()
    later = replace(task, round=task.round + 1)
    first = view(task)
    tampered(name, task, dtype, first)
    return tampered(name, later, dtype, replace(view(later), memory=first.memory)), later


def test_every_attack_on_the_message_is_held_to_its_reason() -> None:
    forging = {name for name, rule in ATTACKS.items() if rule.tamper is not Attack.tamper}
    assert forging == {*REASONS, "huge_claim", "slow_reply"}  # the last has test_slow_reply.py
    assert all(ATTACKS[name].kind == "protocol" for name in forging)


@DTYPES
@pytest.mark.parametrize("name", sorted(REASONS))
def test_admission_refuses_it_for_its_reason(name: str, dtype: DType) -> None:
    record, task = second_round(name, dtype)
    found = judged(record, task)
    assert found.updates is None
    assert {(e.verdict, e.reason) for e in found.audit} == {("refused", REASONS[name])}
    assert all(e.detail for e in found.audit)


@DTYPES
@pytest.mark.parametrize("name", [*sorted(REASONS), "huge_claim"])
def test_the_reply_that_it_is_given_is_left_as_it_was(name: str, dtype: DType) -> None:
    task = samples.task()
    reply = wire.encode_updates(cohort(task).train(), task.run, task.round, dtype)
    copy = wire.encode_updates(cohort(task).train(), task.run, task.round, dtype)
    copy.config_records["meta"]["unique"] = reply.config_records["meta"]["unique"]
    build_attack(name, {}).tamper(reply, view(task))
    assert reply == copy


def test_inf_is_one_value_a_device_and_block() -> None:
    task = samples.task()
    honest = cohort(task).train()
    found = wire.decode_updates(tampered("inf", task, "float32"), spec(task))
    for block in ("encoder", "rows"):
        values, true = getattr(found, block).flatten(1), getattr(honest, block).flatten(1)
        assert values.isinf().sum(1).tolist() == [1] * len(LENGTHS)
        assert torch.equal(values[:, 1:], true[:, 1:])


def test_a_huge_claim_is_cut_and_told() -> None:
    task = samples.task()
    found = judged(tampered("huge_claim", task, "float32"), task)
    assert found.updates is not None
    assert set(found.updates.history.tolist()) == {50}
    assert {(e.verdict, e.reason) for e in found.audit} == {("clipped", "history")}
    honest = judged(wire.encode_updates(cohort(task).train(), task.run, task.round, "float32"), task)
    assert honest.updates is not None
    assert torch.equal(found.updates.rows, honest.updates.rows)


def test_replay_is_honest_at_first_and_then_repeats_itself() -> None:
    task = samples.task()
    first = view(task)
    reply = wire.encode_updates(cohort(task).train(), task.run, task.round, "float32")
    assert build_attack("replay", {}).tamper(reply, first) is reply
    for later in (1, 2):
        again, _ = second_round("replay")
        assert again.array_records == reply.array_records, later
    found: DeviceUpdates = wire.decode_updates(again, spec(task))  # right in its own round
    assert torch.equal(found.rows, cohort(task).train().rows)


def test_oversize_is_told_by_the_limit_where_there_is_one() -> None:
    task = samples.task()
    honest = wire.encode_updates(cohort(task).train(), task.run, task.round, "float32")
    limit = sum(len(a.data) for a in honest.array_records["arrays"].values())
    wire.decode_updates(honest, spec(task, max_bytes=limit))
    with pytest.raises(WireError) as error:
        wire.decode_updates(tampered("oversize", task, "float32"), spec(task, max_bytes=limit))
    assert error.value.reason == "oversize"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32, np.int64])
def test_forging_reads_what_it_writes(dtype: Any) -> None:
    values = np.arange(12, dtype=dtype).reshape(3, 4)
    array = write(values)
    found = read(array)
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype
    found[0, 0] = 9  # its own memory
    np.testing.assert_array_equal(read(array), values)


def test_an_opened_reply_seals_to_the_same_message() -> None:
    task = samples.task()
    reply = wire.encode_updates(cohort(task).train(), task.run, task.round, "float16")
    assert sealed(*opened(reply)) == reply


@pytest.fixture(scope="module")
def absent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rounds in which nothing of the malicious node is used: every reply of it lacks a part."""
    out = tmp_path_factory.mktemp("absent")
    federation(out, "wrong_keys")
    return out


def federation(out: Path, name: str) -> None:
    federate(config(f"attack.name={name}", "attack.share=0.3", "train.rounds=3", "eval.every=0"), out)


@pytest.mark.parametrize("name", sorted(set(REASONS) - {"replay", "wrong_keys"}))
def test_the_run_is_that_of_the_honest_alone(absent: Path, tmp_path: Path, name: str) -> None:
    federation(tmp_path, name)
    refused = {
        (a["node"], a["reason"])
        for a in lines(tmp_path, "audit")
        if a["verdict"] == "refused" and a["reason"] != "idle"
    }
    assert refused == {(2, REASONS[name])}
    assert same_model(tmp_path, absent)
