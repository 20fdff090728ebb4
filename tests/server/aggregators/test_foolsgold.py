"""FoolsGold: credit from cosines, histories by identity, and the sketch that bounds them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Round, State
from server.aggregators.foolsgold import FoolsGold, credit
from server.aggregators.gram import cosines, gram, inner_products
from server.aggregators.sketch import hashing, sketch
from tests.server.aggregators import oracles_gram
from tests.server.aggregators.helpers import a_round, flat, flat_of, from_flat, make

WIDE = FoolsGold(width=1 << 18)  # 22 coordinates do not meet in so many buckets


def met(devices: list[int], number: int = 1, seed: int = 5) -> Round:
    generator = torch.Generator().manual_seed(seed)
    return Round(0, tuple((7, device) for device in devices), generator, number)


def weights(result: Aggregate) -> torch.Tensor:
    assert result.weights is not None
    return result.weights.double()


def crowd(n: int, alike: int, seed: int = 0, dimensions: int = 400) -> DeviceUpdates:
    """The first ``alike`` devices send one direction in several sizes, with a little noise."""
    values = flat(make(n, seed, width=dimensions)).float()
    noise = torch.randn(alike, values.shape[1], generator=torch.Generator().manual_seed(seed))
    values[:alike] = values[0] * torch.linspace(1, 3, alike)[:, None] + 0.02 * noise
    return from_flat(values, make(n, seed, width=dimensions))


@given(n=st.integers(1, 9), seed=st.integers(0, 99), offset=st.sampled_from([0.0, 0.5, 3.0]))
@settings(max_examples=50)
def test_credit_follows_the_loops_of_the_paper(n: int, seed: int, offset: float) -> None:
    updates = make(n, seed, offset=offset)
    for confidence in (1.0, 0.3):
        ours = credit(cosines(gram(updates)), confidence)
        expected = oracles_gram.foolsgold(flat(updates).numpy(), confidence)
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_three_rounds_accumulate_by_identity() -> None:
    history = {device: np.zeros(22) for device in range(8)}
    state: State = WIDE.init()
    for number, present in enumerate([[0, 1, 2, 3, 4], [7, 3, 1, 5], [1, 0, 7, 6, 3, 2]], start=1):
        updates = make(len(present), number, offset=0.7)
        result, state = WIDE(updates, state, met(present, number, seed=number))
        for device, row in zip(present, flat(updates).numpy(), strict=True):
            history[device] += row
        alpha = oracles_gram.foolsgold(np.stack([history[device] for device in present]))
        np.testing.assert_allclose(weights(result).numpy(), alpha / alpha.sum(), rtol=1e-4, atol=1e-5)
    assert sorted(state["identity"].tolist()) == [[7, device] for device in range(8)]


def test_the_same_device_number_on_two_nodes_is_two_devices() -> None:
    _, state = WIDE(make(2), WIDE.init(), Round(0, ((1, 4), (2, 4)), torch.Generator(), 1))
    assert state["identity"].tolist() == [[1, 4], [2, 4]]
    assert not torch.equal(state["history"][0], state["history"][1])


def test_many_alike_lose_their_weight_and_the_others_keep_it() -> None:
    result, _ = FoolsGold()(crowd(12, 4), FoolsGold().init(), a_round(12))
    assert float(weights(result)[:4].sum()) < 1e-3
    assert float(weights(result)[4:].min()) > 0.9 / 8
    assert result.figures["foolsgold.distrusted"] == pytest.approx(4 / 12)


def test_those_alike_are_found_over_rounds_though_each_hides_in_noise() -> None:
    rule, state, found = FoolsGold(), FoolsGold().init(), []
    direction = torch.nn.functional.normalize(torch.ones(415), dim=0)
    for number in range(1, 31):
        values = torch.randn(10, 415, generator=torch.Generator().manual_seed(number)) / 415**0.5
        values[:4] += 0.6 * direction
        updates = from_flat(values, make(10, width=400))
        result, state = rule(updates, state, met(list(range(10)), number))
        found.append(float(weights(result)[:4].sum()))
    assert found[0] > 0.3
    assert found[-1] < 0.05


@pytest.mark.parametrize("values", [torch.ones(5, 22), torch.zeros(5, 22)], ids=["equal", "zero"])
def test_where_nobody_stands_out_it_is_the_mean(values: torch.Tensor) -> None:
    result, _ = FoolsGold()(from_flat(values, make(5)), FoolsGold().init(), a_round(5))
    assert weights(result).tolist() == pytest.approx([0.2] * 5)


def test_rounding_makes_no_favourite() -> None:
    alike = torch.ones(4, 4, dtype=torch.float64) - 1e-15 * torch.rand(
        4, 4, generator=torch.Generator().manual_seed(0)
    )
    assert credit(alike, 1.0).tolist() == [1.0] * 4


def test_a_pardon_spares_the_one_who_resembles_a_colluder_a_little() -> None:
    alike = torch.tensor([[1.0, 0.99, 0.5], [0.99, 1.0, 0.5], [0.5, 0.5, 1.0]], dtype=torch.float64)
    trust = credit(alike, 1.0)
    assert trust[2] == 1
    assert float(trust[:2].max()) == 0


def test_memory_is_bounded_and_forgets_the_longest_unseen() -> None:
    rule = FoolsGold(width=16, capacity=5)
    state: State = rule.init()
    for number, present in enumerate([[0, 1, 2], [3, 4], [0, 5, 6]], start=1):
        _, state = rule(make(len(present), number), state, met(present, number))
    assert [device for _, device in state["identity"].tolist()] == [0, 3, 4, 5, 6]
    assert state["seen"].tolist() == [3, 2, 2, 3, 3]
    assert state["history"].shape == (5, 16)


def test_the_state_survives_a_file() -> None:
    rule = FoolsGold()
    _, state = rule(crowd(9, 3), rule.init(), met(list(range(9))))
    saved = load(save(dict(state)))
    for _ in range(2):
        one, state = rule(crowd(9, 3, 1), state, met(list(range(9)), 2, seed=8))
        other, saved = rule(crowd(9, 3, 1), saved, met(list(range(9)), 2, seed=9))
        assert torch.equal(flat_of(one), flat_of(other)), "only the first round may draw"


def test_huge_updates_do_not_overflow_the_memory() -> None:
    rule, state = FoolsGold(), FoolsGold().init()
    updates = replace(make(5), encoder=make(5).encoder * 3e37)
    for number in range(1, 30):
        result, state = rule(updates, state, met(list(range(5)), number))
    assert weights(result).isfinite().all()
    assert state["history"].isfinite().all()


@given(seed=st.integers(0, 30))
@settings(max_examples=15)
def test_a_sketch_keeps_inner_products(seed: int) -> None:
    updates = make(6, seed, width=3000)
    width = 2048
    found = inner_products(sketch(updates, hashing(torch.Generator().manual_seed(seed)), width))
    exact = gram(updates)
    scale = exact.diagonal().sqrt()
    error = (found - exact) / scale[:, None] / scale[None, :]
    assert float(error.abs().max()) < 6 * (2 / width) ** 0.5


def test_sketches_of_two_slices_add_up() -> None:
    hashes = hashing(torch.Generator().manual_seed(0))
    whole = make(3)
    zero = replace(whole, encoder=torch.zeros_like(whole.encoder))
    left = replace(whole, rows=whole.rows[:, :2], items=whole.items[:2])
    right = replace(zero, rows=whole.rows[:, 2:], items=whole.items[2:])
    both = sketch(left, hashes, 64) + sketch(right, hashes, 64)
    torch.testing.assert_close(both, sketch(whole, hashes, 64))
    assert not torch.allclose(both, sketch(replace(whole, items=whole.items + 1), hashes, 64))
