"""Malformed tasks, sums and enrolments by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from flwr.app import RecordDict

from common import wire
from common.config import ModelConfig
from common.errors import WireError
from common.sampling import ALL, Sample
from common.tasks import EXPOSURES, METRICS, EvaluateSums, GlobalModel
from tests.common.wire import samples
from tests.common.wire.breaking import refused, with_array, with_meta, with_values, without
from tests.common.wire.samples import ITEMS, ROUND, RUN, D

NAN = float("nan")


def decode_train(**changes: Any) -> Any:
    return lambda: wire.decode_train_task(wire.encode_train_task(samples.train_task(**changes)))


def decode_evaluate(**changes: Any) -> Any:
    return lambda: wire.decode_evaluate_task(wire.encode_evaluate_task(samples.evaluate_task(**changes)))


def model(name: str, value: float) -> GlobalModel:
    broken = samples.model()
    getattr(broken, name)[0] = value
    return broken


def test_train_tasks() -> None:
    items = torch.tensor([2, 3, 7, 11, ITEMS + 1], dtype=torch.int32)
    refused("items", "range", decode_train(items=items))
    refused("items", "duplicate", decode_train(items=torch.tensor([2, 3, 7, 7, 9])))
    refused("log_q", "shape", decode_train(log_q=torch.zeros(1)))
    refused("log_q", "range", decode_train(log_q=torch.ones(5)))
    refused("log_q", "not_finite", decode_train(log_q=torch.full((5,), -torch.inf)))
    refused("devices", "duplicate", decode_train(devices=torch.tensor([4, 1, 4])))
    refused("devices", "range", decode_train(devices=torch.tensor([-4])))
    refused("encoder", "not_finite", decode_train(model=model("encoder", NAN)))
    refused("table", "not_finite", decode_train(model=model("table", torch.inf)))
    refused("table", "shape", decode_train(model_config=ModelConfig(dim=D + 1)))
    for nonce in ("", "5EED", "0x5", "g", "0" * 65, "5\n"):
        refused("meta.nonce", "range", decode_train(nonce=nonce))
    refused("meta.wire_dtype", "range", decode_train(wire_dtype="float64"))


def test_samples() -> None:
    for salt in ("", "5a", "5A" * 32, "g" * 64, "0" * 65, "5a" * 32 + "\n"):
        refused("meta.salt", "range", decode_evaluate(sample=Sample(salt, 7)))
    for below in (0, -1, ALL + 1):
        refused("meta.below", "range", decode_evaluate(sample=Sample("5a" * 32, below)))


def test_a_task_larger_than_a_node_allows() -> None:
    record = wire.encode_train_task(samples.train_task())
    refused("arrays", "oversize", lambda: wire.decode_train_task(record, max_bytes=100))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        '{"name": 7}',
        '{"dim": "2"}',
        '{"dim": true}',
        '{"dim": 2.5}',
        '{"dim": 0}',
        '{"dropout": NaN}',
        '{"unknown": 1}',
        '{"unknown-' + "x" * 5000 + '": 1}',
        '{"dim": 1' + "0" * 5000 + "}",
        "[" * 20_000,
        '{"name": ' * 5_000,
        '{"name": "\ud800"}',
        "\x00",
    ],
)
def test_settings_that_are_not_settings(text: str) -> None:
    record = wire.encode_train_task(samples.train_task())
    with_meta("model_config", text)(record)
    refused("meta.model_config", "type", lambda: wire.decode_train_task(record))


@pytest.mark.parametrize(
    ("section", "text", "told"),
    [
        (
            "model_config",
            '{"blocks": 100000}',
            "expected a whole number from 1 to 64 (given: 100000)",
        ),
        ("model_config", '{"max_len": 1000000000}', "max_len: expected a whole number from 1 to 2,048"),
        ("model_config", '{"dim": 2048, "blocks": 64}', "blocks: expected at most 67,108,864"),
        (
            "train_config",
            '{"local_steps": 1000000000000}',
            "local_steps: expected a whole number from 1 to 500",
        ),
        (
            "train_config",
            '{"device_negatives": 4000000000}',
            "device_negatives: expected a whole number from 1 to 65,536",
        ),
        ("client_config", '{"decoys": 4000000000}', "decoys: expected a whole number from 0 to 65,536"),
    ],
)
def test_settings_of_an_absurd_size_are_refused_before_anything_is_built(
    section: str, text: str, told: str
) -> None:
    tasks = [(wire.encode_train_task(samples.train_task()), wire.decode_train_task)]
    if section == "model_config":
        tasks += [(wire.encode_evaluate_task(samples.evaluate_task()), wire.decode_evaluate_task)]
    for record, decode in tasks:
        with_meta(section, text)(record)
        with pytest.raises(WireError) as caught:
            decode(record)
        assert caught.value.field == f"meta.{section}"
        assert told in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_probability_that_no_item_can_have() -> None:
    log_q = samples.train_task().log_q
    assert decode_train(log_q=torch.full_like(log_q, -60.0))()
    for value in (-60.1, -3e38):
        log_q[2] = value
        refused("log_q", "range", decode_train(log_q=log_q))


def test_settings_longer_than_any_settings() -> None:
    record = wire.encode_train_task(samples.train_task())
    with_meta("client_config", "[" * 2**20)(record)
    refused("meta.client_config", "oversize", lambda: wire.decode_train_task(record))


def test_evaluate_tasks() -> None:
    refused("targets", "range", decode_evaluate(targets=(ITEMS + 1,)))
    refused("targets", "range", decode_evaluate(targets=(0,)))
    refused("targets", "duplicate", decode_evaluate(targets=(3, 3)))
    refused("targets", "shape", decode_evaluate(targets=tuple(range(1, ITEMS + 3))))
    refused("quartiles", "order", decode_evaluate(quartiles=(5, 4, 6)))
    refused("quartiles", "range", decode_evaluate(quartiles=(-1, 4, 6)))
    refused("meta.split", "range", decode_evaluate(split="train"))
    refused("table", "not_finite", decode_evaluate(model=model("table", NAN)))
    record = wire.encode_evaluate_task(samples.evaluate_task())
    without("arrays", "quartiles")(record)
    refused("arrays.quartiles", "missing", lambda: wire.decode_evaluate_task(record))


def decode_sums(sums: EvaluateSums, **changes: Any) -> Any:
    record = wire.encode_evaluate_sums(sums, RUN, ROUND)
    return lambda: wire.decode_evaluate_sums(record, samples.sums_spec(**changes))


def test_sums_that_no_devices_can_have() -> None:
    good = samples.sums()
    refused("count", "range", decode_sums(good, histories=torch.arange(9)))
    refused("count", "range", decode_sums(replace(good, count=torch.tensor([10, 4, 3, 2, 2]))))
    refused("count", "range", decode_sums(replace(good, count=torch.tensor([10, 12, -2, 0, 0]))))
    refused(
        "count", "range", decode_sums(replace(good, quartiles=(1, 4, 6)))
    )  # three such histories, not four
    refused("quartiles", "order", decode_sums(replace(good, quartiles=(4, 2, 6))))
    refused("epsilon", "range", decode_sums(replace(good, epsilon=0.5)))
    refused("epsilon", "range", decode_sums(replace(good, epsilon=NAN)))
    refused("epsilon", "unexpected", decode_sums(replace(good, epsilon=3.0)))
    refused("eligible", "range", decode_sums(replace(good, eligible=torch.tensor([11, 0]))))
    refused("eligible", "range", decode_sums(replace(good, eligible=torch.tensor([-1, 0]))))
    refused("eligible", "shape", decode_sums(good, targets=3))
    huge = replace(good, count=torch.full((5,), 2**62))
    refused("count", "range", decode_sums(huge))
    refused("meta.round", "stale", decode_sums(good, round=ROUND + 1))
    refused("meta.run", "foreign", decode_sums(good, run="other"))


def test_groups() -> None:
    task = samples.evaluate_task(group=ITEMS)
    assert wire.decode_evaluate_task(wire.encode_evaluate_task(task)).group == ITEMS
    for item in (-1, ITEMS + 1):
        refused("meta.group", "range", decode_evaluate(group=item))
    good = samples.sums()
    twice = replace(good, exposure=good.exposure.repeat(2, 1), eligible=good.eligible.repeat(2))
    assert decode_sums(twice, group=True)().exposure.shape == (4, len(EXPOSURES))
    refused("arrays", "oversize", decode_sums(twice))
    refused("eligible", "shape", decode_sums(good, group=True))
    none = replace(good, exposure=good.exposure[:0], eligible=good.eligible[:0])
    assert decode_sums(none, group=True, targets=0)().exposure.shape == (0, len(EXPOSURES))
    more = replace(twice, eligible=torch.tensor([7, 7, 8, 7]))
    refused("exposure", "range", decode_sums(more, group=True))
    less = twice.exposure.clone()
    less[0] /= 2
    refused("exposure", "range", decode_sums(replace(twice, exposure=less), group=True))
    back = replace(twice, exposure=less, eligible=torch.tensor([0, 7, 7, 7]))
    back.exposure[0] = 0  # kept back: it says nothing of the group
    decode_sums(back, group=True)()


@pytest.mark.parametrize(
    ("value", "reason"), [(NAN, "not_finite"), (torch.inf, "not_finite"), (-0.5, "range"), (7.5, "range")]
)
def test_sums_of_shares_lie_between_zero_and_the_count(value: float, reason: str) -> None:
    exposure = samples.sums()
    exposure.exposure[1, 2] = value
    refused("exposure", reason, decode_sums(exposure))
    metrics = samples.sums()
    metrics.metrics[1, len(METRICS) - 1] = value
    refused("metrics", reason, decode_sums(metrics))


def test_quartiles_add_up_but_the_order_of_addition_is_free() -> None:
    sums = samples.sums()
    sums.metrics[2, 3] += 1e-6
    decode_sums(sums)()
    sums.metrics[2, 3] += 0.5
    refused("metrics", "range", decode_sums(sums))


def decode_enrolment(devices: list[int], history: list[int], limit: int = 3) -> Any:
    enrolment = replace(samples.enrolment(), devices=torch.tensor(devices), history=torch.tensor(history))
    record = wire.encode_enrolment(enrolment)
    return lambda: wire.decode_enrolment(record, limit)


def test_enrolments() -> None:
    refused("devices", "order", decode_enrolment([2, 1], [1, 1]))
    refused("devices", "duplicate", decode_enrolment([2, 2], [1, 1]))
    refused("devices", "range", decode_enrolment([-1, 2], [1, 1]))
    refused("history", "range", decode_enrolment([1, 2], [1, -1]))
    refused("history", "shape", decode_enrolment([1, 2], [1]))
    refused("arrays", "oversize", decode_enrolment([1, 2, 3, 4], [1] * 4))
    assert len(decode_enrolment([], [])().devices) == 0


def test_two_gigabytes_declared_by_an_enrolment() -> None:
    record = wire.encode_enrolment(samples.enrolment())
    with_array("devices", shape=(2**28,))(record)
    refused("devices", "size", lambda: wire.decode_enrolment(record, limit=2**30))


def test_one_kind_of_message_is_not_another() -> None:
    records: list[RecordDict] = [
        wire.encode_train_task(samples.train_task()),
        wire.encode_evaluate_task(samples.evaluate_task()),
        wire.encode_evaluate_sums(samples.sums(), RUN, ROUND),
        wire.encode_updates(samples.updates(), RUN, ROUND),
    ]
    for record in records:
        refused("meta.catalogue", "missing", lambda r=record: wire.decode_enrolment(r, 10**6))  # type: ignore[misc]
    record = wire.encode_enrolment(samples.enrolment())
    with_values("devices", torch.zeros(2, len(EXPOSURES)), "int64")(record)
    refused("devices", "shape", lambda: wire.decode_enrolment(record, 10))
