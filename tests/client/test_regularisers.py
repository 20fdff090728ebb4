"""Terms on hidden states, against plain loops, and inside local training."""

from __future__ import annotations

import math

import pytest
import torch

from client.cohort import Cohort
from client.regularisers import REGULARISERS, Anchor, Coherence, Items, Uniformity, build_regularisers
from client.uniformity import contrast
from common.config import ClientConfig, ModelConfig, TrainConfig
from common.errors import ConfigError, UnknownName
from common.models import initial
from common.seeding import generator
from common.settings import component
from common.tasks import TrainTask
from common.updates import DeviceUpdates


def hidden(length: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    padding = torch.tensor([True, True] + [False] * (length - 2))
    return torch.randn(length, 4, generator=g), torch.randn(length, 4, generator=g), padding


def test_coherence_is_the_squared_step_between_real_neighbours() -> None:
    states, anchor, padding = hidden()
    found = Coherence(weight=0.5)(states, anchor, padding)
    expected = [0.0] * len(states)
    for t in range(1, len(states)):
        if not padding[t] and not padding[t - 1]:
            expected[t] = 0.5 * sum(float(x) ** 2 for x in states[t] - states[t - 1])
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_coherence_does_not_join_the_last_position_to_the_first() -> None:
    states, anchor, _ = hidden()
    assert float(Coherence()(states, anchor, torch.zeros(6, dtype=torch.bool))[0]) == 0.0


def test_anchor_is_the_squared_distance_to_the_global_state() -> None:
    states, anchor, padding = hidden()
    found = Anchor(weight=2.0)(states, anchor, padding)
    expected = [2 * sum(float(x) ** 2 for x in row) for row in states - anchor]
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


ROWS = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))


def contrasted(pairs: list[tuple[int, int]], candidates: list[bool] | None = None) -> list[float]:
    """Penalties of positions (input, next item) by their rows; item 5 is not in the slice of five."""
    outside = torch.randn(1, 4, generator=torch.Generator().manual_seed(3))
    inputs = torch.cat([ROWS, outside])[[i for i, _ in pairs]]
    target = torch.tensor([j for _, j in pairs])
    items = Items(inputs, ROWS, target.clamp(max=4), target < 5, torch.tensor(candidates or [True] * 5))
    states, padding = torch.zeros(len(pairs), 4), torch.zeros(len(pairs), dtype=torch.bool)
    found: list[float] = Uniformity(weight=0.5, negatives=3)(states, states, padding, items).tolist()
    return found


def expected_contrast(i: int, j: int, others: list[int]) -> float:
    rows = ROWS.double()
    alike = float(torch.exp(rows[i] @ rows[j]))
    apart = sum(float(torch.exp(rows[i] @ rows[n])) for n in others) / len(others)
    return -0.5 * math.log(alike / (alike + 3 * apart))


def test_uniformity_is_the_contrast_of_neighbours_with_the_mean_of_the_rest() -> None:
    found = contrasted([(0, 5), (1, 2), (2, 0)])
    assert found == pytest.approx(
        [0.0, expected_contrast(1, 2, [1, 3, 4]), expected_contrast(2, 0, [1, 3, 4])], rel=1e-5
    )


def test_uniformity_leaves_out_rows_that_the_device_does_not_train() -> None:
    found = contrasted([(1, 2)], [True, True, True, False, True])
    assert found == pytest.approx([expected_contrast(1, 2, [0, 1, 4])], rel=1e-5)


def test_uniformity_without_another_item_is_silent() -> None:
    assert contrasted([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]) == [0.0] * 5


def test_uniformity_draws_neighbours_together_and_the_rest_away() -> None:
    rows = ROWS.clone().requires_grad_()
    pair = torch.tensor([1])
    yes = torch.ones(1, dtype=torch.bool)
    contrast(rows[:1], rows, pair, yes, torch.ones(5, dtype=torch.bool), 15).sum().backward()
    assert rows.grad is not None
    with torch.no_grad():
        after = rows - 0.01 * rows.grad
        assert float(after[0] @ after[1]) > float(rows[0] @ rows[1])
        assert float((after[0] @ after[2:].T).logsumexp(0)) < float((rows[0] @ rows[2:].T).logsumexp(0))


def updates(*terms: str, weight: float = 1.0, steps: int = 2) -> DeviceUpdates:
    model_config = ModelConfig(dim=8, max_len=8, blocks=1, dropout=0.0)
    model, _ = initial(model_config, 12, generator(0, "model"))
    named = tuple(component(term, weight=weight) for term in terms)
    task = TrainTask(
        run="test",
        round=1,
        seed=0,
        model=model,
        items=torch.arange(1, 13, dtype=torch.int32),
        log_q=torch.zeros(12),
        devices=torch.tensor([0]),
        model_config=model_config,
        train_config=TrainConfig(local_steps=steps, local_lr=0.1),
        client_config=ClientConfig(regularisers=named),
    )
    history = torch.randperm(12, generator=torch.Generator().manual_seed(1))[:6].int().numpy() + 1
    return Cohort(task, [0], [history]).train()


@pytest.mark.parametrize("name", sorted(REGULARISERS))
def test_every_term_changes_two_local_steps_and_weight_zero_changes_nothing(name: str) -> None:
    plain = updates()
    assert torch.equal(updates(name, weight=0.0).encoder, plain.encoder)
    changed = updates(name)
    assert not torch.allclose(changed.rows, plain.rows, atol=1e-6)
    assert not torch.allclose(changed.encoder, plain.encoder, atol=1e-6)


def test_the_anchor_is_silent_in_the_first_step_and_holds_the_device_back_later() -> None:
    torch.testing.assert_close(updates("anchor", steps=1).encoder, updates(steps=1).encoder)
    free = updates(steps=8)
    held = updates("anchor", weight=0.2, steps=8)
    assert float(held.encoder.norm()) < float(free.encoder.norm())


def test_unknown_terms_and_parameters_name_the_valid_ones() -> None:
    with pytest.raises(UnknownName, match="valid: anchor, coherence, uniformity"):
        build_regularisers([component("smooth")])
    with pytest.raises(ConfigError, match="valid: weight"):
        build_regularisers([component("anchor", strength=1)])
