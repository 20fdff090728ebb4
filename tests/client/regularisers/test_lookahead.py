"""The label spread over what follows, against sums written out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from client.regularisers import build_regularisers
from client.regularisers.lookahead import Lookahead
from common.config import ClientConfig, ModelConfig
from common.errors import ConfigError
from common.models import interaction_length
from common.registry import Component
from experiments.contracts.samples import cohort, model_config, task
from tests.client.regularisers.helpers import LENGTH, own

TERM = Lookahead(weight=0.6, reach=3, decay=0.5)


def written_out(term: Lookahead, log_p: Tensor, target: Tensor, counted: Tensor) -> list[float]:
    """w·(Σ a_k·ℓ_t(k) − ℓ_t(1)) by loops; log_p [ℓ, K]."""
    found = []
    shares = [term.decay**k for k in range(2, term.reach + 1)]
    for t in range(len(target)):
        total = float(log_p[t, target[t]]) if counted[t] else 0.0
        for k, share in zip(range(2, term.reach + 1), shares, strict=True):
            at = t + k - 1
            if at < len(target) and counted[at]:
                total -= share / sum(shares) * float(log_p[t, target[at]])
        found.append(term.weight * total)
    return found


def test_it_is_the_sum_over_the_items_that_follow() -> None:
    mine = own(8, seed=4)
    scores = (mine.hidden @ mine.rows.T).masked_fill(~mine.candidates, -math.inf)
    expected = written_out(TERM, torch.log_softmax(scores, dim=1), mine.target, mine.counted)
    assert TERM(mine).tolist() == pytest.approx(expected, rel=1e-9)
    assert bool(mine.counted.any())


def test_a_state_with_nothing_after_the_next_item_keeps_its_share_of_the_loss() -> None:
    mine = own(8, seed=4, counted=torch.ones(LENGTH, dtype=torch.bool))
    assert float(TERM(mine)[-1]) == pytest.approx(-0.6 * float(mine.loss(mine.target)[-1]))


def test_devices_with_nothing_to_predict_stay_idle() -> None:
    what = task(local_steps=1)
    asked = ClientConfig(regularisers=(Component.model_validate({"name": "lookahead"}),))
    plain, ahead = cohort(what), cohort(replace(what, client_config=asked))
    assert ahead.busy().tolist() == plain.busy().tolist()
    assert len(plain.busy()) < len(plain.devices)


def test_a_longer_row_than_one_interaction_is_none_of_an_honest_device() -> None:
    """The sieve's bound is that of a device that trains one item once; with the term it still holds."""
    what = replace(
        task(local_steps=1),
        client_config=ClientConfig(regularisers=(Component.model_validate({"name": "lookahead"}),)),
    )
    length = interaction_length(what.model_config, what.train_config, what.model.encoder)
    assert length is not None
    seen = 0
    for mine in (cohort(what, seed=seed) for seed in range(8)):
        updates = mine.train()
        for rows, window in zip(updates.rows, mine.windows, strict=True):
            inputs, following = set(window[:-1].tolist()), window[1:].tolist()
            for k, item in enumerate(updates.items.tolist()):
                if item not in inputs and following.count(item) == 1:
                    bound = float(length(rows[k][None] / rows[k].norm().clamp_min(1e-12))[0])
                    assert float(rows[k].norm()) <= bound * (1 + 1e-4)
                    seen += 1
    assert seen > 10


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"weight": 1.0}, "weight"),
        ({"reach": 1}, "reach"),
        ({"decay": 0.0}, "decay"),
        ({"decay": 2}, "decay"),
    ],
)
def test_parameters_that_cannot_be_are_refused(params: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_regularisers([Component.model_validate({"name": "lookahead", **params})])


def test_a_model_that_sees_what_follows_is_refused() -> None:
    one = [Component.model_validate({"name": "lookahead"})]
    with pytest.raises(ConfigError, match="lookahead asks states for later items, and those of bert4rec"):
        build_regularisers(one, ModelConfig(name="bert4rec"))
    assert build_regularisers(one, model_config()) == (Lookahead(),)
