"""Model poisoning where there is little to go by: one device, idle devices, parameters out of range."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from attacks import ATTACKS, build_attack
from attacks.estimates import vectors
from client.cohort import Cohort
from common.errors import ConfigError
from common.updates import DeviceUpdates
from tests.attacks.samples import cohort, play
from tests.attacks.vectors import honest, sent
from tests.client import samples

ESTIMATING = ("alie", "fang_trmean", "min_max", "min_sum", "mimic")
"""Attacks that hide in the spread of their own devices: honest where there is only one."""

IDLE_IS_HONEST = (*ESTIMATING, "cluster_attack", "fang_krum", "ipm", "same_value", "spattack")


@pytest.mark.parametrize("name", ESTIMATING)
def test_one_device_alone_has_no_spread_to_hide_in(name: str) -> None:
    updates = honest(1)
    torch.testing.assert_close(vectors(sent(name, updates)), vectors(updates))
    among_idle = honest(4, idle=(0, 2, 3))
    found = vectors(sent(name, among_idle))
    torch.testing.assert_close(found, vectors(among_idle)[1:2].expand_as(found))


@pytest.mark.parametrize("name", IDLE_IS_HONEST)
@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_round_without_anything_to_learn_is_answered_honestly(name: str, n: int) -> None:
    updates = honest(n, idle=tuple(range(n)))
    assert sent(name, updates) is updates


@pytest.mark.parametrize("name", [n for n in IDLE_IS_HONEST if n not in ("spattack", "cluster_attack")])
def test_the_order_of_devices_does_not_matter_to_what_is_sent(name: str) -> None:
    updates = honest(6)
    turned = updates.take(torch.tensor([3, 1, 5, 0, 2, 4]))
    first, second = vectors(sent(name, updates)), vectors(sent(name, turned))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "params", "error"),
    [
        ("alie", {"share": 0.0}, "share"),
        ("alie", {"share": 0.6}, "share"),
        ("min_max", {"direction": "up"}, "unit, sign, std"),
        ("min_sum", {"direction": "up"}, "unit, sign, std"),
        ("fang_krum", {"threshold": 0.0}, "threshold"),
        ("fang_trmean", {"low": 5.0}, "low <= high"),
        ("spattack", {"mode": "x"}, "o, l"),
        ("spattack", {"share": 1.0}, "share"),
        ("cluster_attack", {"clusters": 0}, "clusters"),
        ("cluster_attack", {"patience": 0}, "patience"),
        ("psmu", {"rate": -1}, "rate must be finite and above 0, given -1"),
        ("psmu", {"rate": 0.0}, "rate must be finite and above 0"),
        ("psmu", {"boost": -1.0}, "boost must be finite and above 0"),
        ("psmu", {"steps": 0}, "steps must be a whole number of at least 1"),
        ("psmu", {"profile": 0}, "profile must be a whole number of at least 1"),
        ("psmu", {"alike": -1}, "alike must be a whole number of at least 0"),
        ("psmu", {"top": 0, "alike": 0}, "at least 1 rival"),
        ("huge_claim", {"claim": 2**31}, "int32"),
        ("oversize", {"times": 1}, "times"),
    ],
)
def test_parameters_out_of_range_are_refused(name: str, params: dict[str, object], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        build_attack(name, params)


@pytest.mark.parametrize("name", sorted(n for n, rule in ATTACKS.items() if rule.kind == "model"))
def test_an_attack_costs_three_honest_trainings_at_most(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []
    train = Cohort.train

    def counted(self: Cohort, *args: Any) -> DeviceUpdates:
        trained.append(len(self.numbers))
        return train(self, *args)

    task = samples.task()
    honest_ones = cohort(task)
    monkeypatch.setattr(Cohort, "train", counted)
    play(build_attack(name, {}), task)
    assert sum(trained) - len(honest_ones.numbers) <= 3 * len(honest_ones.numbers)  # less the yardstick's own
