"""FedRecAttack where its gradient has nothing for the target, and what of the histories is public."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attacks import View
from attacks.fed_rec_attack import FedRecAttack
from attacks.pushing import interaction_size
from tests.attacks.samples import INSIDE, OUTSIDE, cohort, view
from tests.client import samples

SEEDS = (0, 1, 8, 13, 17)
"""Of histories with the target of the slice and without it."""


def one_device(seed: int, *targets: int) -> View:
    """A node with one device, of 40 interactions."""
    task = samples.task()
    seen = view(task, targets, seed)
    return replace(seen, cohort=replace(samples.cohort(task, (40,), seed), wanted=targets))


@pytest.mark.parametrize("targets", [(INSIDE, OUTSIDE), (OUTSIDE, INSIDE)])
def test_where_nobody_pulls_at_the_target_of_the_slice_the_updates_are_honest(
    targets: tuple[int, ...],
) -> None:
    for seed in SEEDS:
        seen = one_device(seed, *targets)
        honest = seen.cohort.train()
        sent = FedRecAttack(xi=1.0).poison(honest, seen)
        assert bool(sent.rows.isfinite().all())
        assert (INSIDE in seen.cohort.sequences[0]) == (sent is honest)
    held = {INSIDE in one_device(seed, *targets).cohort.sequences[0] for seed in SEEDS}
    assert held == {True, False}


@pytest.mark.parametrize("others", [0.0, 1.0])
@pytest.mark.parametrize("target", [0.0, 1e-30])
def test_a_target_without_a_length_is_not_scaled_up(target: float, others: float) -> None:
    """One with a length beside rows far longer: all users are sure of it, but not of another target."""
    task = samples.task()
    honest, attack = cohort(task).train(), FedRecAttack(boost=1000.0)
    assert float(attack.boost * interaction_size(honest).sum()) > 4
    (slot,) = view(task).slots()
    push = torch.full_like(honest.rows[0], others)
    push[slot] = target
    assert attack.share_out(push, honest, [slot], torch.Generator().manual_seed(0)) is honest


def test_what_is_public_of_a_device_is_the_same_in_every_round_and_of_no_other() -> None:
    attack, task = FedRecAttack(xi=0.3), samples.task()
    own = replace(samples.cohort(task), numbers=range(20), sequences=[samples.history(30)] * 20)
    seen = replace(view(task), cohort=own)
    first = attack.public(seen)
    later = replace(seen, task=replace(task, round=9), generator=torch.Generator().manual_seed(9))
    assert torch.equal(attack.public(later), first)
    alone = attack.public(replace(later, cohort=own.take([7])))  # asked in other company
    assert [i for i in alone[0].tolist() if i] == [i for i in first[7].tolist() if i]
    assert len({tuple(row) for row in first.tolist()}) == 20
    assert not torch.equal(attack.public(replace(seen, seed=seen.seed + 1)), first)
