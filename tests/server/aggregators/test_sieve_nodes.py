"""The sieve counts devices: how they are spread over nodes changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from common.settings import component
from common.updates import DeviceUpdates
from server.aggregators import Aggregate, Round, build_aggregator
from tests.server.aggregators.test_sieve import people

DEVICES, MALICIOUS, ROUNDS = 40, 8, 4


def in_round(number: int) -> DeviceUpdates:
    """Eight of forty devices push one row beyond what an interaction does, and their encoders are alike."""
    updates = people(DEVICES, seed=number)
    encoder, rows = updates.encoder.clone(), updates.rows.clone()
    encoder[:MALICIOUS] = encoder[0] + 0.1 * encoder[:MALICIOUS]
    rows[:MALICIOUS, 3] = 5.0
    return replace(updates, encoder=encoder, rows=rows)


def run(nodes: list[int]) -> list[Aggregate]:
    """Round after round, device i on node ``nodes[i]``; a reputation of one round weighs in the next."""
    rule = build_aggregator(component("sieve"))
    state, found = rule.init(), []
    for number in range(1, ROUNDS + 1):
        identity = tuple((node, device) for device, node in enumerate(nodes))
        setting = Round(number, identity, torch.Generator().manual_seed(number))
        aggregate, state = rule(in_round(number), state, setting)
        found.append(aggregate)
    return found


@pytest.mark.parametrize("spread", ["one", "four", "own", "shared"])
def test_attackers_on_few_nodes_or_on_many_weigh_the_same(spread: str) -> None:
    """Malicious devices on one node, on four, on one each, or on nodes with honest devices beside them."""
    malicious = {
        "one": [9] * MALICIOUS,
        "four": [9 + i % 4 for i in range(MALICIOUS)],
        "own": [9 + i for i in range(MALICIOUS)],
        "shared": [i % 2 for i in range(MALICIOUS)],
    }[spread]
    honest = [i % 2 for i in range(DEVICES - MALICIOUS)]
    expected, found = run([5] * DEVICES), run([*malicious, *honest])
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one.encoder, other.encoder)
        assert torch.equal(one.rows, other.rows)
        assert one.weights is not None
        assert other.weights is not None
        assert torch.equal(one.weights, other.weights)
    last = found[-1].weights
    assert last is not None
    assert float(last[:MALICIOUS].mean()) < 0.5 * float(last[MALICIOUS:].mean())  # there is a weight to lose
