"""Training in fewer bits: close to float32, float32 to the outside, and nothing left behind."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.throughput import make_task
from client.cohort import Cohort
from client.precision import _without_effect, precision
from common.config import ClientConfig
from common.updates import DeviceUpdates
from tests.client.regularisers.helpers import REORDERED

CPU = torch.device("cpu")


def cohort(name: str, steps: int = 1, loss: str = "softmax", terms: tuple[str, ...] = ()) -> Cohort:
    made = make_task(6, items=200, slice_size=40, steps=steps)
    task = made.task
    update = {"precision": name, "loss": loss}
    client = ClientConfig.model_validate({"regularisers": list(terms)})
    train = task.train_config.model_copy(update=update)
    return replace(made, task=replace(task, train_config=train, client_config=client))


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("loss", ["softmax", "bce", "gbce"])
@pytest.mark.parametrize("steps", [1, 3])
def test_bfloat16_is_near_and_its_updates_are_float32(loss: str, steps: int) -> None:
    half, single = (cohort(name, steps, loss).train() for name in ("bfloat16", "float32"))
    for name in ("encoder", "rows"):
        one, other = getattr(half, name), getattr(single, name)
        assert one.dtype == torch.float32
        assert 1e-5 < relative(one, other) < 0.05


def test_bfloat16_takes_terms_of_the_loss() -> None:
    half, single = (cohort(name, 2, terms=(REORDERED, "anchor")).train() for name in ("bfloat16", "float32"))
    assert relative(half.rows, single.rows) < 0.1


def same(one: DeviceUpdates, other: DeviceUpdates) -> bool:
    return torch.equal(one.encoder, other.encoder) and torch.equal(one.rows, other.rows)


def test_bfloat16_is_left_after_training() -> None:
    before = cohort("float32").train()
    cohort("bfloat16").train()
    assert not torch.is_autocast_enabled("cpu")
    assert same(cohort("float32").train(), before)


def test_tf32_on_the_cpu_is_float32_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    _without_effect.cache_clear()
    with caplog.at_level(logging.WARNING):
        found = [cohort("tf32").train() for _ in range(2)]
    assert [r.getMessage() for r in caplog.records if r.name == "client.precision"] == [
        "train.precision is 'tf32', which has no effect on cpu: it trains in float32"
    ]
    assert same(found[0], cohort("float32").train())


def test_tf32_is_set_for_a_card_and_taken_back_whatever_happens() -> None:
    before = torch.get_float32_matmul_precision()
    inside: list[str] = []

    def fails() -> None:
        with precision("tf32", torch.device("cuda:0")):
            inside.append(torch.get_float32_matmul_precision())
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert inside == ["high"] != [before]
    assert torch.get_float32_matmul_precision() == before
    with precision("float32", torch.device("cuda:0")):
        assert torch.get_float32_matmul_precision() == before
