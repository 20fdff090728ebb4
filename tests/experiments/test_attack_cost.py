"""The benchmark of the attacks measures what a malicious node does."""

from __future__ import annotations

from dataclasses import replace

import torch
from flwr.app import RecordDict

from attacks import ATTACKS, build_attack
from benchmarks.attacks import VARIANTS, fleet, make_task, play, ratios


def test_an_attack_is_played_like_in_the_node() -> None:
    task = make_task()
    cohort, target = fleet(task, 2), int(task.items[0])
    honest = replace(cohort).train()
    clean = play(build_attack("control", {}), replace(cohort), target, RecordDict())
    assert torch.equal(clean.rows, honest.rows)
    flipped = play(build_attack("sign_flip", {}), replace(cohort), target, RecordDict())
    assert torch.equal(flipped.rows, -4 * honest.rows)
    planted = play(build_attack("parity", {}), replace(cohort), target, RecordDict())
    assert not torch.equal(planted.rows, honest.rows)
    found = ratios(build_attack("label_to_target", {}), cohort, target, 2)
    assert len(found) == 2
    assert min(found) > 0


def test_every_variant_can_be_built() -> None:
    assert set(VARIANTS) <= set(ATTACKS)
    for name, variants in VARIANTS.items():
        assert len({build_attack(name, params) for params in variants}) == len(variants)
