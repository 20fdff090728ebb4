"""Order consistency, against explicit prefixes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from client.regularisers.base import shuffled
from client.regularisers.order import OrderConsistency
from tests.client.regularisers.helpers import LENGTH, encoder, own


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
@pytest.mark.parametrize(("items", "block"), [(8, 4), (6, 4), (7, 3), (5, 2), (6, 8), (1, 4)])
def test_each_counted_prefix_is_shuffled_and_encoded_by_hand(name: str, items: int, block: int) -> None:
    mine = own(items, seed=items, model=encoder(name))
    found = OrderConsistency(weight=0.3, margin=0.7, block=block)(mine)
    for t in range(LENGTH):
        from_right = LENGTH - 1 - t
        if mine.padding[t]:
            continue
        if from_right % block or not mine.counted[t]:
            assert float(found[t]) == 0.0
            continue
        prefix = list(range(LENGTH - items, t + 1))
        usual, other = prefix, sorted(prefix, key=lambda p: (-((LENGTH - 1 - p) // block), mine.noise[0, p]))
        assert sorted(other) == usual
        scores = []
        for places in (usual, other):
            inputs = torch.zeros_like(mine.inputs)  # nothing after t
            inputs[prefix] = mine.inputs[places]
            scores.append(float(mine.encode(inputs, mine.padding)[t] @ mine.rows[mine.target[t]]))
        expected = 0.3 * math.log1p(math.exp(0.7 - scores[0] + scores[1]))
        assert float(found[t]) == pytest.approx(expected, rel=1e-9)


def test_the_last_position_is_always_the_end_of_a_block() -> None:
    mine = replace(own(6), counted=torch.ones(LENGTH, dtype=torch.bool))
    for block in (2, 3, 5, 100):
        assert float(OrderConsistency(block=block)(mine)[-1]) > 0


@pytest.mark.parametrize("items", [0, 1, 3, 8])
def test_a_shuffle_stays_in_its_blocks_and_leaves_the_padding_alone(items: int) -> None:
    padding = torch.arange(LENGTH) < LENGTH - items
    orders = set()
    for seed in range(30):
        noise = torch.rand(LENGTH, generator=torch.Generator().manual_seed(seed))
        order = shuffled(padding, noise, 4).tolist()
        assert sorted(order) == list(range(LENGTH))
        assert {*order[:4]} == {0, 1, 2, 3}
        assert torch.equal(padding[order], padding)
        orders.add(tuple(p for p in order if not padding[p]))
    assert len(orders) > 4 if items > 3 else len(orders) == math.factorial(items)


def test_a_model_that_reads_only_the_last_item_pays_and_one_that_reads_order_pays_less() -> None:
    """Every score the same after the shuffle costs softplus(margin); a gain from order costs less."""
    mine = replace(own(8), counted=torch.ones(LENGTH, dtype=torch.bool))
    blind = replace(mine, encode=lambda inputs, padding: mine.hidden)
    even = OrderConsistency(weight=1.0, margin=1.0)(blind)
    assert float(even[-1]) == pytest.approx(math.log1p(math.e))
    drop = mine.hidden - 0.5 * mine.rows[mine.target]
    ordered = replace(mine, encode=lambda inputs, padding: drop)
    assert float(OrderConsistency(weight=1.0, margin=1.0)(ordered)[-1]) < float(even[-1])
