"""FLDetector: updates predicted from the last ones, scores over rounds by identity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from common.errors import RunError
from common.tasks import GlobalModel
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Round, State
from server.aggregators.fldetector import FlDetector, curved
from tests.server.aggregators.helpers import a_round, flat_of, make
from tests.server.aggregators.oracles_served import FlDetector as Oracle

WIDTH = 12
EXACT = FlDetector(width=1 << 16, window=4)  # 12 coordinates do not meet in so many buckets


class Bowl:
    """Devices on quadratics f_i(w) = ½(w − c_i)ᵀA(w − c_i): an honest update is −A(w − c_i)."""

    def __init__(self, n: int, seed: int = 0, noise: float = 0.0) -> None:
        g = torch.Generator().manual_seed(seed)
        root = torch.randn(WIDTH, WIDTH, generator=g) / WIDTH**0.5
        self.bend = 0.2 * (root @ root.T) + 0.1 * torch.eye(WIDTH)
        self.centres = torch.randn(n, WIDTH, generator=g)
        self.model = torch.zeros(WIDTH)
        self.noise, self.g = noise, g

    def updates(self, present: list[int]) -> DeviceUpdates:
        sent = -(self.model - self.centres[present]) @ self.bend
        sent = sent + self.noise * torch.randn(sent.shape, generator=self.g)
        like = make(len(present), width=WIDTH)
        return replace(like, encoder=sent, rows=torch.zeros_like(like.rows))

    def round(self, present: list[int], number: int, seed: int = 5) -> Round:
        table = torch.zeros(6, 3)
        generator = torch.Generator().manual_seed(seed)
        identity = tuple((7, device) for device in present)
        return Round(0, identity, generator, number, GlobalModel(self.model.clone(), table))


Poison = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def noisy(sent: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    return 3 * torch.randn(sent.shape, generator=g)


def steady(sent: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    return torch.full_like(sent, 2.0)


def play(
    n: int, bad: int, poison: Poison, rounds: int = 12, part: float = 1.0
) -> tuple[Aggregate, list[int]]:
    """The last round of a federation whose first ``bad`` devices send what ``poison`` makes."""
    rule, bowl = FlDetector(), Bowl(n, noise=0.01)
    state: State = rule.init()
    g = torch.Generator().manual_seed(9)
    for number in range(1, rounds + 1):
        present = sorted(torch.randperm(n, generator=g)[: round(part * n)].tolist())
        updates = bowl.updates(present)
        evil = torch.tensor([device < bad for device in present])
        sent = updates.encoder.clone()
        sent[evil] = poison(sent[evil], g)
        result, state = rule(replace(updates, encoder=sent), state, bowl.round(present, number))
        bowl.model = bowl.model + result.encoder
    return result, [i for i, device in enumerate(present) if device < bad]


def weights(result: Aggregate) -> torch.Tensor:
    assert result.weights is not None
    return result.weights


def test_scores_follow_the_matrix_that_bfgs_builds() -> None:
    """Devices come and go; aggregate, model and H are those of the rule itself."""
    bowl, oracle = Bowl(9, noise=0.05), Oracle(EXACT.window)
    state: State = EXACT.init()
    who = [
        [0, 1, 2, 3, 4, 5],
        [0, 2, 4, 6, 8],
        [1, 3, 5, 7, 0],
        [8, 6, 4, 2, 0],
        [0, 1, 2, 3, 8],
        [7, 6, 5, 1],
    ]
    for number, present in enumerate(who, start=1):
        updates = bowl.updates(present)
        result, state = EXACT(updates, state, bowl.round(present, number))
        model = bowl.model.double().numpy()
        expected = oracle.scores(present, updates.encoder.double().numpy(), model)
        oracle.learn(model, result.encoder.double().numpy())
        past = {
            pair[1]: row[-EXACT.window :]
            for pair, row in zip(state["identity"].tolist(), state["history"], strict=True)
        }
        for device, score in expected.items():
            kept = past[device][past[device] > 0] - 1
            np.testing.assert_allclose(float(kept.mean()), score, rtol=1e-3, err_msg=f"{device} in {number}")
        bowl.model = bowl.model + result.encoder
    assert len(oracle.pairs) == len(state["steps"]) == EXACT.window


@pytest.mark.parametrize("pairs", [1, 2, 5])
def test_the_compact_form_is_the_matrix_and_meets_the_last_secant(pairs: int) -> None:
    g = torch.Generator().manual_seed(pairs)
    root = torch.randn(WIDTH, WIDTH, generator=g, dtype=torch.float64)
    steps = torch.randn(pairs, WIDTH, generator=g, dtype=torch.float64)
    turns = -steps @ (root @ root.T + 0.1 * torch.eye(WIDTH))  # of updates, so downhill: minus a Hessian
    moved = torch.randn(3, WIDTH, generator=g, dtype=torch.float64)
    oracle = Oracle(pairs)
    oracle.pairs = [(s, -y) for s, y in zip(steps.numpy(), turns.numpy(), strict=True)]
    state = {"steps": steps, "turns": turns}
    np.testing.assert_allclose(
        curved(state, moved).numpy(), -moved.numpy() @ oracle.hessian(WIDTH), rtol=1e-6
    )
    torch.testing.assert_close(curved(state, steps[-1:]), turns[-1:])


@pytest.mark.parametrize("part", [1.0, 0.6])
@pytest.mark.parametrize("bad", [1, 6])
def test_inconsistent_devices_are_left_out(bad: int, part: float) -> None:
    result, evil = play(20, bad, noisy, 12 if part == 1 else 25, part)
    if not evil:
        assert weights(result).min() > 0
        return
    assert weights(result)[evil].abs().max() == 0
    assert int((weights(result) == 0).sum()) == len(evil)


def test_attackers_as_consistent_as_honest_devices_are_not_found() -> None:
    result, evil = play(20, 6, steady)
    assert weights(result)[evil].min() > 0


def test_nobody_is_judged_in_the_first_round() -> None:
    bowl = Bowl(8)
    updates = bowl.updates(list(range(8)))
    result, state = FlDetector()(updates, {}, bowl.round(list(range(8)), 1))
    torch.testing.assert_close(result.encoder, updates.encoder.mean(dim=0))
    assert result.figures == {"fldetector.left_out": 0.0, "fldetector.judged": 0.0}
    assert len(state["steps"]) == 0


def test_an_honest_federation_keeps_everyone() -> None:
    result, _ = play(20, 0, noisy)
    assert weights(result).tolist() == pytest.approx([1 / 20] * 20)


def test_a_model_that_stood_still_teaches_nothing() -> None:
    rule, bowl, state = FlDetector(), Bowl(6), FlDetector().init()
    for number in (1, 2, 3):
        _, state = rule(bowl.updates(list(range(6))), state, bowl.round(list(range(6)), number))
    assert len(state["steps"]) == len(state["turns"]) == 0
    assert state["history"].isfinite().all()


def test_memory_is_bounded() -> None:
    rule, bowl = FlDetector(width=16, window=3, capacity=7), Bowl(20, noise=0.1)
    state: State = rule.init()
    for number in range(1, 9):
        present = [(5 * number + i) % 20 for i in range(5)]
        result, state = rule(bowl.updates(present), state, bowl.round(present, number))
        bowl.model = bowl.model + result.encoder
    assert state["history"].shape == (7, 1 + 2 * 16 + 3)
    assert state["steps"].shape == state["turns"].shape == (3, 16)


def test_the_state_survives_a_file() -> None:
    rule, bowl = FlDetector(), Bowl(9, noise=0.1)
    state: State = rule.init()
    for number in range(1, 4):
        result, state = rule(bowl.updates(list(range(9))), state, bowl.round(list(range(9)), number))
        bowl.model = bowl.model + result.encoder
    saved = load(save({k: v.contiguous() for k, v in state.items()}))
    updates = bowl.updates(list(range(9)))
    one, after = rule(updates, state, bowl.round(list(range(9)), 4))
    other, again = rule(updates, saved, bowl.round(list(range(9)), 4, seed=5))
    assert torch.equal(flat_of(one), flat_of(other))
    assert all(torch.equal(after[name], again[name]) for name in after)


def test_huge_updates_do_not_overflow_the_memory() -> None:
    rule, bowl = FlDetector(), Bowl(6)
    state: State = rule.init()
    for number in range(1, 5):
        updates = bowl.updates(list(range(6)))
        sent = updates.encoder.clone()
        sent[0] = 1e30 * number
        result, state = rule(replace(updates, encoder=sent), state, bowl.round(list(range(6)), number))
        bowl.model = bowl.model + 0.01
    assert all(value.isfinite().all() for value in state.values())
    assert weights(result).isfinite().all()


def test_it_says_what_it_needs() -> None:
    with pytest.raises(RunError, match="fldetector needs the global model"):
        FlDetector()(make(4), {}, a_round(4))
