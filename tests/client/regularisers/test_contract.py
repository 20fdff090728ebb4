"""What training relies on, of every term in the registry."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from client.cohort import Cohort
from client.regularisers import REGULARISERS, Own, Regulariser, build_regularisers
from common.config import ClientConfig, ModelConfig, TrainConfig
from common.errors import ConfigError, UnknownName
from common.models import initial
from common.seeding import generator
from common.settings import component
from common.tasks import TrainTask
from common.updates import DeviceUpdates
from experiments.contracts.regularisers import changed
from tests.client.regularisers.helpers import LENGTH, REORDERED, own
from tests.client.samples import cohort as sample
from tests.client.samples import task as sample_task

EACH = pytest.mark.parametrize("name", sorted(REGULARISERS))
TENSORS = [f.name for f in fields(Own) if f.name != "encode"]


def made(name: str, **params: object) -> Regulariser:
    return build_regularisers([component(name, **params)])[0]


@EACH
def test_one_penalty_a_position_in_proportion_to_the_weight(name: str) -> None:
    mine = own()
    single, double = (made(name, weight=w)(mine) for w in (0.4, 0.8))
    assert single.shape == (LENGTH,)
    if not made(name).ahead:  # one that spreads the label takes some of the loss back
        assert bool((single >= 0).all())
    assert float(single.abs().max()) > 0
    torch.testing.assert_close(double, 2 * single)
    assert not bool(made(name, weight=0.0)(mine).any())


@EACH
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    term, mine = made(name, weight=0.9), own()

    def penalty(inputs: Tensor, rows: Tensor) -> Tensor:
        hidden = mine.encode(inputs, mine.padding)
        other = changed(mine, inputs=inputs, rows=rows, hidden=hidden)
        return torch.where(mine.padding, 0.0, term(other)).sum()

    leaves = (mine.inputs.clone().requires_grad_(), mine.rows.clone().requires_grad_())
    assert torch.autograd.gradcheck(penalty, leaves)
    penalty(*leaves).backward()
    assert leaves[0].grad is not None
    assert float(leaves[0].grad[~mine.padding].abs().max()) > 1e-4


@pytest.mark.parametrize("name", [*sorted(REGULARISERS), REORDERED])
def test_a_term_that_runs_the_model_uses_chance_and_no_other_does(name: str) -> None:
    term, mine = made(name), own(8)
    found = [term(replace(mine, noise=torch.rand_like(mine.noise))) for _ in range(6)]
    varied = any(not torch.equal(found[0], one) for one in found[1:])
    assert varied == (term.passes > 0)


def updates(*terms: str, weight: float = 0.9, steps: int = 2) -> DeviceUpdates:
    model_config = ModelConfig(dim=8, max_len=8, blocks=1, dropout=0.0)
    model, _ = initial(model_config, 12, generator(0, "model"))
    named = tuple(component(term, weight=weight) for term in terms)
    task = TrainTask(
        run="test",
        round=1,
        nonce="00",
        model=model,
        items=torch.arange(1, 13, dtype=torch.int32),
        log_q=torch.zeros(12),
        devices=torch.tensor([0]),
        model_config=model_config,
        train_config=TrainConfig(local_steps=steps, local_lr=0.1),
        client_config=ClientConfig(regularisers=named),
    )
    history = torch.randperm(12, generator=torch.Generator().manual_seed(1))[:6].int().numpy() + 1
    return Cohort(task, [0], [history], key=0).train()


@EACH
def test_every_term_changes_two_local_steps_and_weight_zero_changes_nothing(name: str) -> None:
    plain = updates()
    torch.testing.assert_close(updates(name, weight=0.0).encoder, plain.encoder, rtol=0, atol=1e-7)
    assert not torch.allclose(updates(name).encoder, plain.encoder, atol=1e-6)


@EACH
@pytest.mark.parametrize("negatives", ["slice", "device"])
def test_weight_zero_changes_nothing_under_dropout_and_for_every_length(name: str, negatives: str) -> None:
    """What a term draws must not move the dropout of any device."""
    plain = sample_task(local_steps=2, negatives=negatives, window="random")
    terms = ClientConfig(regularisers=(component(name, weight=0.0),))
    expected, found = sample(plain).train(), sample(replace(plain, client_config=terms)).train()
    torch.testing.assert_close(found.encoder, expected.encoder, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.rows, expected.rows, rtol=0, atol=1e-6)


def test_the_anchor_is_silent_in_the_first_step_and_holds_the_device_back_later() -> None:
    torch.testing.assert_close(updates("anchor", steps=1).encoder, updates(steps=1).encoder)
    free = updates(steps=8)
    held = updates("anchor", weight=0.2, steps=8)
    assert float(held.encoder.norm()) < float(free.encoder.norm())


def test_unknown_terms_and_parameters_name_the_valid_ones() -> None:
    with pytest.raises(UnknownName, match="valid: anchor, lookahead, uniformity"):
        build_regularisers([component("smooth")])
    with pytest.raises(ConfigError, match="valid: weight"):
        build_regularisers([component("anchor", strength=1)])


@pytest.mark.parametrize(
    ("name", "params"),
    [
        *((name, {"weight": -1.0}) for name in sorted(REGULARISERS)),
    ],
)
def test_invalid_parameters_are_settings_errors(name: str, params: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=name):
        made(name, **params)
