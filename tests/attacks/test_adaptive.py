"""The adaptive attack: what it sends passes every stage of the true sieve."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from attacks import build_attack
from attacks.hidden import hidden_states, last_states
from attacks.hiding import cancelled, drawn_signs, mixed
from attacks.pushing import interaction_size
from attacks.recipe import TOLERANCE, alikeness, apart, clipped, collusion_weight, cosines, estimate, nearest
from attacks.shilling import confined
from client.batch import make_batch
from common.errors import ConfigError
from common.seeding import generator
from common.settings import component
from common.updates import DeviceUpdates, concatenate
from server.aggregators import Round, build_aggregator, gram, stages
from tests.attacks.samples import INSIDE, Played, played
from tests.client import samples


def fleet(n: int = 24) -> Any:
    """A cohort of n devices with histories of 4 to 14 items, none of them idle."""
    task = samples.task(samples.model_config(dropout=0.0), negatives="full")
    return task, samples.cohort(task, [4 + i % 11 for i in range(n)], seed=4)


class PlayedByFleet(Played):
    """``Played`` whose honest side is that of the same devices."""

    @cached_property
    def honest(self) -> DeviceUpdates:
        return fleet(len(self.sent))[1].train()


def attack_of(n: int = 24, targets: tuple[int, ...] = (INSIDE,), **params: object) -> Played:
    """``played`` with more devices."""
    from tests.attacks import samples as attacked

    task, cohort = fleet(n)
    seen = replace(attacked.view(task, targets), cohort=cohort)
    attack = build_attack("adaptive", params)
    sent = attack.poison(cohort.train(lambda batch, devices: attack.relabel(batch, seen)), seen)
    return PlayedByFleet(sent, seen)


def test_estimates_are_those_of_the_rule_on_the_same_devices() -> None:
    honest = fleet()[1].train()
    bounds = estimate(honest)
    assert bounds is not None
    norms = honest.rows.norm(dim=2)
    limit = stages.interaction_size(norms)
    torch.testing.assert_close(torch.tensor(bounds.size), limit)
    factors = stages.row_clip(norms, limit)
    rows = honest.rows * factors[:, :, None]
    torch.testing.assert_close(clipped(honest.rows, bounds.size), rows)
    weights = collusion_weight(cosines(rows.flatten(1)), bounds)
    expected = stages.collusion_weight(gram.cosines(gram.inner_products(rows)), 0.3, 8.0, 4.0)
    torch.testing.assert_close(weights.double(), expected, rtol=1e-3, atol=1e-3)
    assert bool((factors <= 1).all())


def test_idle_devices_are_no_estimate() -> None:
    honest = fleet(4)[1].train()
    nothing = replace(honest, rows=torch.zeros_like(honest.rows))
    assert estimate(nothing) is None
    assert alikeness(torch.ones(1, 1)) == (0.0, 1.0)


def test_the_last_state_is_that_after_the_whole_history() -> None:
    round_ = attack_of(6)
    found = last_states(round_.seen)
    for row, items in zip(found, round_.seen.cohort.sequences, strict=True):
        tail = items[-samples.MAX_LEN :]
        batch = make_batch([[*tail, 1]], len(tail))  # type: ignore[list-item]
        torch.testing.assert_close(row, hidden_states(batch, round_.seen.task)[0, -1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["row", "encoder", "unseen"])
def test_it_stays_inside_every_bound_it_can_see(mode: str) -> None:
    round_ = attack_of(mode=mode)
    bounds = estimate(round_.honest)
    assert bounds is not None
    rows = round_.sent.rows
    assert float(rows.norm(dim=2).max()) <= bounds.size * 1.0001
    assert float(rows.flatten(1).norm(dim=1).max()) <= bounds.rows * 1.0001
    assert float(round_.sent.encoder.norm(dim=1).max()) <= bounds.encoder * 1.0001
    (slot,) = round_.seen.slots()
    torch.testing.assert_close(rows[:, slot].norm(dim=1), torch.full((24,), bounds.size))


def test_the_target_moves_towards_the_mean_user() -> None:
    round_ = attack_of()
    (slot,) = round_.seen.slots()
    users = last_states(round_.seen)
    towards = F.normalize(round_.sent.rows[:, slot], dim=1) @ F.normalize(users.mean(0), dim=0)
    assert float(towards.min()) > 0.4  # the jitter leaves at least √(1 − .9²)
    assert float((towards - towards[0]).abs().max()) < 1e-3  # as far for each, each to another side


def crowd(generator_: torch.Generator) -> torch.Tensor:
    """Rows [96, 512, 64]: 16 attackers with one straight push on 30 rows, 80 people with 15 items each."""
    rows = 0.01 * torch.randn(96, 512, 64, generator=generator_)
    for person in rows[16:]:
        some = torch.randperm(512, generator=generator_)[:15]
        own = torch.randn(64, generator=generator_)
        person[some] = F.normalize(own + 4 * torch.randn(15, 64, generator=generator_), dim=1)
    rows[:16, 100:130] = F.normalize(torch.randn(64, generator=generator_), dim=0)
    return rows


def test_public_randomness_breaks_a_sieve_that_draws_from_the_seed_and_no_other() -> None:
    rows = crowd(torch.Generator().manual_seed(3))
    signs = drawn_signs(0, 7, rows.shape[1:])
    hidden = torch.cat([cancelled(rows[:16], range(100, 130), signs), rows[16:]])
    encoder = torch.randn(96, 8, generator=torch.Generator().manual_seed(4))

    def weight(sent: torch.Tensor, secret: int | bytes) -> float:
        """Of an attacker, over that of the others, under a sieve that draws from ``secret``."""
        history = torch.full((96,), 15, dtype=torch.int32)
        updates = DeviceUpdates(encoder, sent, torch.arange(1, 513).int(), history, torch.arange(96))
        setting = Round(16, tuple((1, i) for i in range(96)), generator(secret, "aggregator", 7))
        found, _ = build_aggregator(component("sieve"))(updates, {}, setting)
        assert found.weights is not None
        return float(found.weights[:16].mean() / found.weights[16:].mean())

    assert weight(rows, 0) < 0.2  # who pushes alike is found
    assert weight(hidden, 0) > 0.8  # and hides, where the signs are those of the seed that all nodes know
    for secret in (b"k" * 32, b"l" * 32):
        assert weight(hidden, secret) < 0.2


def test_public_randomness_cancels_every_target_on_each_device() -> None:
    """Over what is folded together, signed rows of a target and its counterweight add up to nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attacks.hiding.FOLD", 64)
        sent = attack_of(mode="public", targets=(INSIDE, 4), decoys=0)
    bounds = estimate(sent.honest)
    assert bounds is not None
    slots = sent.seen.slots()
    rows, dim = sent.sent.rows, sent.sent.rows.shape[2]
    signed = rows * drawn_signs(sent.seen.seed, sent.seen.task.round, rows.shape[1:])
    assert len(slots) == 2
    for slot in slots:
        same = [k for k in range(rows.shape[1]) if k * dim % 64 == slot * dim % 64 and k not in slots]
        left = (signed[:, slot, None] + signed[:, same]).norm(dim=2).amin(dim=1)  # [n]
        assert float(left.max()) < 1e-5 * bounds.size
    assert float(rows.flatten(1).norm(dim=1).max()) <= bounds.rows * 1.0001


@pytest.mark.parametrize("mode", ["row", "encoder", "unseen"])
def test_the_true_sieve_weighs_it_like_an_honest_device(mode: str) -> None:
    """Eight attackers among twenty-four honest devices; the rule sees all, the attackers themselves alone."""
    task, everyone = fleet(32)
    honest = everyone.train()
    own = replace(everyone, numbers=everyone.numbers[:8], sequences=everyone.sequences[:8])
    from tests.attacks import samples as attacked

    seen = replace(attacked.view(task), cohort=own)
    sent = build_attack("adaptive", {"mode": mode}).poison(own.train(), seen)
    together = concatenate([sent, honest.take(torch.arange(8, 32))])
    rule = build_aggregator(component("sieve"))
    setting = Round(8, tuple((1, i) for i in range(32)), torch.Generator())
    found, _ = rule(together, rule.init(), setting)
    assert found.weights is not None
    assert float(found.weights[:8].mean()) > 0.95 * float(found.weights[8:].mean())
    label = build_attack("explicit_boost", {}).poison(own.train(), seen)
    boosted, _ = rule(concatenate([label, honest.take(torch.arange(8, 32))]), rule.init(), setting)
    assert boosted.weights is not None
    assert float(boosted.weights[:8].mean()) < 0.5 * float(boosted.weights[8:].mean())


@pytest.mark.parametrize("coherent", [0.3, 3.0])
def test_the_mix_is_the_most_that_passes_for_people(coherent: float) -> None:
    """Honest encoders share much or little; the poison goes in until two of them look too alike."""
    g = torch.Generator().manual_seed(3)
    honest = torch.randn(12, 500, generator=g) + coherent * torch.randn(500, generator=g)
    poison = torch.randn(500, generator=g)
    usual = F.normalize(honest, dim=1).mean(0)

    def alike(encoders: torch.Tensor) -> float:
        return float((apart(encoders, usual).sum() - 12) / (12 * 11))

    limit = float(nearest(apart(honest, usual)).quantile(0.5)) + TOLERANCE
    sent = mixed(honest, poison, 0.9, TOLERANCE)
    assert alike(sent) <= limit
    beyond = [F.cosine_similarity(x - honest.mean(0), poison, dim=1).mean() for x in (honest, sent)]
    assert float(beyond[1] - beyond[0]) > 0.1
    rest = honest - honest.mean(0)
    size = rest.norm(dim=1, keepdim=True)
    loud = honest.mean(0) + torch.lerp(rest, size * F.normalize(poison, dim=0), 0.9)
    assert alike(loud) > limit  # all of it would not pass
    torch.testing.assert_close(mixed(honest, poison, 0.9, math.inf), loud)
    torch.testing.assert_close(mixed(honest, poison, 0.0, TOLERANCE), honest)


def test_who_is_not_careful_looks_more_alike() -> None:
    def alike(careful: bool) -> float:
        encoders = attack_of(mode="encoder", careful=careful).sent.encoder
        return float(apart(encoders, F.normalize(encoders, dim=1).mean(0)).sum())

    honest = attack_of().honest.encoder
    usual = float(apart(honest, F.normalize(honest, dim=1).mean(0)).sum())
    assert usual <= alike(careful=True) < alike(careful=False)


def test_a_single_device_resembles_nobody() -> None:
    g = torch.Generator().manual_seed(3)
    honest, poison = torch.randn(1, 50, generator=g), torch.randn(50, generator=g)
    expected = torch.lerp(honest, honest.norm() * F.normalize(poison, dim=0)[None], 0.4)
    torch.testing.assert_close(mixed(honest, poison, 0.4, TOLERANCE), expected)


def test_decoys_are_moved_by_c_and_differ_from_device_to_device() -> None:
    with_, without = attack_of(decoys=3), attack_of(decoys=0)
    size = interaction_size(with_.honest).quantile(0.5)

    def at_full_size(updates: DeviceUpdates) -> torch.Tensor:
        return (updates.rows.norm(dim=2) - size).abs() < 1e-3 * size

    more = at_full_size(with_.sent).sum(1) - at_full_size(without.sent).sum(1)
    assert int(more.sum()) > 6
    assert 0 <= int(more.min()) <= int(more.max()) <= 3
    assert len({tuple(row.tolist()) for row in at_full_size(with_.sent)}) > 12


def test_spread_takes_turns_and_is_honest_in_between() -> None:
    pushes = torch.zeros(24, dtype=torch.int64)
    task, _ = fleet()
    for round_number in range(8):
        round_ = attack_of()
        seen = replace(round_.seen, task=replace(task, round=round_number))
        sent = build_attack("adaptive", {"mode": "spread", "turns": 4}).poison(round_.honest, seen)
        changed = (sent.rows != round_.honest.rows).flatten(1).any(dim=1)
        pushes += changed
        assert torch.equal(sent.encoder[~changed], round_.honest.encoder[~changed])
    assert pushes.tolist() == [2] * 24


def test_last_position_trains_on_one_planted_interaction() -> None:
    task = samples.task()
    attack = build_attack("adaptive", {"mode": "last_position"})
    round_ = played("adaptive", task, mode="last_position")
    batch = make_batch([samples.history(5), samples.history(1), samples.history(9)], 10)
    changed = attack.relabel(batch, round_.seen)
    assert torch.equal(changed.inputs, batch.inputs)
    assert changed.targets[:, -1].tolist() == [INSIDE, 0, INSIDE]  # who predicts nothing still does not
    assert torch.equal(changed.targets[:, :-1], batch.targets[:, :-1])
    expected = round_.seen.cohort
    honest = replace(expected).train(lambda batch, devices: attack.relabel(batch, round_.seen))
    assert torch.equal(round_.sent.rows, confined(honest).rows)


@pytest.mark.parametrize("mode", ["row", "encoder", "spread", "unseen"])
def test_with_own_rows_nothing_else_is_touched(mode: str) -> None:
    round_ = played("adaptive", samples.task(negatives="device", device_negatives=6), mode=mode)
    assert round_.sent.touched is not None
    assert not bool(round_.sent.rows[~round_.sent.touched].any())


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"mode": "table"}, "row, encoder, last_position, spread, unseen"),
        ({"mix": 1.5}, "mix must be a share"),
        ({"decoys": -1}, "decoys"),
        ({"turns": 0}, "turns"),
    ],
)
def test_parameters_out_of_range_are_refused(params: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_attack("adaptive", params)


def test_nodes_with_one_seed_do_not_send_alike_jitter_and_decoys() -> None:
    """Two nodes of three devices each, with the same histories: only the device numbers differ."""
    from tests.attacks import samples as attacked

    task, cohort = fleet(3)
    attack = build_attack("adaptive", {})
    found = []
    for first in (0, 3):
        own = replace(cohort, numbers=range(first, first + 3))
        honest = replace(cohort).train()
        honest = replace(honest, device=torch.arange(first, first + 3))
        found.append(attack.poison(honest, replace(attacked.view(task), cohort=own)).rows)
    changed = (found[0] != found[1]).any(dim=2)  # [n, K]
    assert int(changed.any(dim=1).sum()) >= 2  # a device whose block is full has room for no decoy
