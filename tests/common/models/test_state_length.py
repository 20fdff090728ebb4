"""How long a state is in its direction: what the sieve takes one interaction to be."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional as F

from common.config import ModelConfig, TrainConfig
from common.models import build_model, interaction_length, layout_of
from common.models.parts import EndsInNorm
from tests.common.models.samples import NAMES


def trained(seed: int, name: str = "sasrec") -> tuple[EndsInNorm, dict[str, torch.Tensor]]:
    """A model whose last norm has scales from .3 to 3 and shifts of any sign."""
    g = torch.Generator().manual_seed(seed)
    model = build_model(ModelConfig(name=name, dim=16, max_len=10, blocks=1))
    assert isinstance(model, EndsInNorm)
    named = {name: 0.3 * torch.randn(p.shape, generator=g) for name, p in model.named_parameters()}
    named[f"{model.last_norm}.weight"] = 0.3 * 10 ** torch.rand(16, generator=g)
    return model, named


@pytest.mark.parametrize("name", [name for name in NAMES if name != "gru4rec"])
@pytest.mark.parametrize("seed", range(3))
def test_every_state_is_as_long_as_its_direction_says(seed: int, name: str) -> None:
    model, named = trained(seed, name)
    items = torch.randn(10, 16, generator=torch.Generator().manual_seed(seed + 9))
    states = functional_call(model, named, (items, torch.zeros(10, dtype=torch.bool)))  # [L, d]
    lengths = model.state_length(named, F.normalize(states, dim=1))
    torch.testing.assert_close(lengths, states.norm(dim=1), rtol=1e-3, atol=1e-4)


def test_where_no_state_points_the_length_is_none() -> None:
    model, named = trained(0)
    named["norm.weight"] = torch.full((16,), 0.1)
    named["norm.bias"] = torch.full((16,), 5.0)
    away = F.normalize(-torch.ones(1, 16), dim=1)
    assert model.state_length(named, away).tolist() == [0.0]


def test_one_interaction_is_a_step_of_the_local_rate_over_the_fixed_length() -> None:
    config = ModelConfig(dim=16, max_len=10, blocks=1)
    model, named = trained(1)
    encoder = layout_of(build_model(config)).flatten(named)
    directions = F.normalize(torch.randn(4, 16, generator=torch.Generator().manual_seed(2)), dim=1)
    of = interaction_length(config, TrainConfig(local_lr=0.5, local_steps=3), encoder)
    assert of is not None
    torch.testing.assert_close(of(directions), model.state_length(named, directions) * 0.5 * 3 / 10)


@pytest.mark.parametrize(
    ("model", "loss"), [({"name": "gru4rec"}, "softmax"), ({}, "bce"), ({"code_books": 2}, "softmax")]
)
def test_without_a_bound_there_is_none(model: dict[str, object], loss: str) -> None:
    config = ModelConfig.model_validate({"dim": 16, "max_len": 10, **model})
    encoder = torch.zeros(layout_of(build_model(config)).total)
    assert interaction_length(config, TrainConfig.model_validate({"loss": loss}), encoder) is None
