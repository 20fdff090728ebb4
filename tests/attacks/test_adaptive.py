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
from attacks.hiding import mixed
from attacks.pushing import interaction_size
from attacks.recipe import TOLERANCE, apart, estimate, nearest
from attacks.shilling import confined
from client.batch import make_batch
from common.errors import ConfigError
from common.models import interaction_length
from common.settings import component
from common.updates import DeviceUpdates, concatenate
from server.aggregators import Round, build_aggregator, stages
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
    task, cohort = fleet()
    honest = cohort.train()
    bounds = estimate(honest, task)
    assert bounds is not None
    interaction = interaction_length(task.model_config, task.train_config, task.model.encoder)
    norms = honest.rows.norm(dim=2)
    limits = 1.25 * stages.row_limits(honest.rows, norms, interaction)
    strong = norms > stages.interaction_size(norms) / 2
    directions = honest.rows[strong] / norms[strong][:, None]
    torch.testing.assert_close(bounds.most(directions), limits[strong])
    ratios = honest.encoder.norm(dim=1) / norms.norm(dim=1)
    torch.testing.assert_close(bounds.encoder, 2 * ratios.quantile(0.5) * norms.norm(dim=1))


def test_without_a_bound_of_the_model_a_row_may_move_as_the_rule_lets_it() -> None:
    task, cohort = fleet()
    honest = cohort.train()
    recurrent = replace(task, model_config=task.model_config.model_copy(update={"name": "gru4rec"}))
    bounds = estimate(honest, recurrent)
    assert bounds is not None
    limits = 1.25 * stages.row_limits(honest.rows, honest.row_norms, None)[0]
    torch.testing.assert_close(bounds.most(torch.eye(3)), limits[:3], rtol=0.05, atol=0)
    usual = float(interaction_size(honest).quantile(0.5))
    assert bounds.most(torch.eye(3)).tolist() == pytest.approx([2.5 * usual] * 3)


def test_idle_devices_are_no_estimate() -> None:
    task, cohort = fleet(4)
    honest = cohort.train()
    assert estimate(replace(honest, rows=torch.zeros_like(honest.rows)), task) is None


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
    bounds = estimate(round_.honest, round_.seen.task)
    assert bounds is not None
    (slot,) = round_.seen.slots()
    pushed = round_.sent.rows[:, slot]  # [n, d]
    torch.testing.assert_close(pushed.norm(dim=1), bounds.most(F.normalize(pushed, dim=1)))
    others = [k for k in range(round_.sent.rows.shape[1]) if k != slot]
    assert torch.equal(round_.sent.rows[:, others], round_.honest.rows[:, others])
    lengths = round_.sent.encoder.norm(dim=1)
    if mode == "encoder":
        torch.testing.assert_close(lengths, bounds.encoder)  # as loud as it may be
    else:
        assert torch.equal(round_.sent.encoder, round_.honest.encoder)


def test_the_target_moves_straight_towards_the_mean_user() -> None:
    round_ = attack_of()
    (slot,) = round_.seen.slots()
    mean = F.normalize(last_states(round_.seen).mean(0), dim=0)
    towards = F.normalize(round_.sent.rows[:, slot], dim=1) @ mean
    torch.testing.assert_close(towards, torch.ones(24))


def test_neighbours_are_pushed_and_never_the_target() -> None:
    round_ = attack_of(mode="neighbours", near=3)
    (slot,) = round_.seen.slots()
    changed = (round_.sent.rows != round_.honest.rows).any(dim=2)  # [n, K]
    assert changed.sum(1).tolist() == [3] * 24
    assert not bool(changed[:, slot].any())
    table = F.normalize(round_.seen.task.model.table, dim=1)
    alike = table[round_.seen.cohort.rows.items.long()] @ table[INSIDE]
    alike[slot] = -1
    assert set(changed[0].nonzero().flatten().tolist()) == set(alike.topk(3).indices.tolist())


def test_neighbours_by_own_negatives_are_rows_that_the_device_names() -> None:
    task = samples.task(samples.model_config(dropout=0.0), negatives="device")
    round_ = played("adaptive", task, mode="neighbours", near=4)
    changed = (round_.sent.rows != round_.honest.rows).any(dim=2)  # [n, K]
    assert round_.sent.touched is not None
    assert bool(changed.any())
    assert not bool((changed & ~round_.sent.touched).any())


def test_neighbours_with_codes_are_pushed_through_their_own_rows() -> None:
    config = samples.model_config(dropout=0.0, code_books=3, code_rows=11)
    round_ = played("adaptive", samples.task(config), mode="neighbours", near=1)
    model = round_.seen.task.model
    items = round_.seen.cohort.rows.items.long()
    alike = F.normalize(model.embed(items), dim=1) @ F.normalize(model.embeddings[INSIDE], dim=0)
    alike[items == INSIDE] = -1
    nearest = model.numbers(items[alike.argmax()][None]).flatten().tolist()
    changed = (round_.sent.rows != round_.honest.rows).any(dim=2).any(dim=0)  # [R]
    assert set(round_.sent.items[changed].tolist()) == set(nearest)


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
    interaction = interaction_length(task.model_config, task.train_config, task.model.encoder)
    setting = Round(8, tuple((1, i) for i in range(32)), torch.Generator(), interaction=interaction)
    found, _ = rule(together, rule.init(), setting)
    assert found.weights is not None
    assert float(found.weights[:8].mean()) > 0.95 * float(found.weights[8:].mean())
    label = build_attack("explicit_boost", {}).poison(own.train(), seen)
    boosted, _ = rule(concatenate([label, honest.take(torch.arange(8, 32))]), rule.init(), setting)
    assert boosted.weights is not None
    assert float(boosted.weights[:8].mean()) < 0.5 * float(boosted.weights[8:].mean())


def test_a_loud_encoder_keeps_its_direction() -> None:
    quiet, loud = (attack_of(mode="encoder", loudness=times).sent for times in (1.0, 50.0))
    torch.testing.assert_close(loud.encoder, 50 * quiet.encoder)
    assert torch.equal(loud.rows, quiet.rows)


@pytest.mark.parametrize(("bound", "least", "most"), [(2.0, 0.9, 3), (0.0, 49, 51)])
def test_the_encoder_clip_alone_cuts_a_loud_encoder_back(bound: float, least: float, most: float) -> None:
    """One of 24 devices is loud; by how much it moves the encoder, over what it does at the bound."""
    quiet = attack_of(mode="encoder").sent
    numbers = tuple((1, i) for i in range(len(quiet)))
    rule = build_aggregator(component("sieve", encoder=bound))

    def heard(loudness: float) -> torch.Tensor:
        sent = replace(quiet, encoder=quiet.encoder.clone())
        sent.encoder[0] *= loudness
        return rule(sent, rule.init(), Round(0, numbers, torch.Generator()))[0].encoder

    silent, usual, loud = (heard(times) for times in (1e-6, 1.0, 50.0))
    times = float((loud - silent).norm() / (usual - silent).norm())
    assert least <= times <= most


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


def test_less_tolerance_makes_encoders_less_alike() -> None:
    def alike(tolerance: float) -> float:
        encoders = attack_of(mode="encoder", mix=0.9, tolerance=tolerance).sent.encoder
        return float(apart(encoders, F.normalize(encoders, dim=1).mean(0)).sum())

    assert alike(0.0) < alike(0.3)


def test_some_devices_show_the_target_and_the_others_poison() -> None:
    """Of those who hold the target the server sees honest encoders; each has its role for good."""
    round_ = attack_of(mode="encoder", holders=0.5)
    shows = (round_.sent.rows != round_.honest.rows).flatten(1).any(dim=1)
    poisons = (round_.sent.encoder != round_.honest.encoder).any(dim=1)
    assert torch.equal(shows, ~poisons)
    assert 0.4 <= float(shows.float().mean()) <= 0.6
    assert torch.equal(
        shows, (attack_of(mode="encoder", holders=0.5).sent.rows != round_.honest.rows).flatten(1).any(1)
    )


def test_large_device_numbers_have_roles_too() -> None:
    shows, poisons = build_attack("adaptive", {"mode": "encoder", "holders": 0.5}).roles(
        2**24 + torch.arange(100)
    )
    assert 45 <= int(shows.sum()) <= 55
    assert torch.equal(shows, ~poisons)


@pytest.mark.parametrize("when", ["present", "absent", "always"])
def test_encoders_are_poisoned_in_the_rounds_that_were_chosen(when: str) -> None:
    """A round that trains the target and then one that does not, which has no label to poison with."""
    attack, first = build_attack("adaptive", {"mode": "encoder", "when": when}), attack_of()
    elsewhere, honest = replace(first.seen, targets=()), first.honest
    assert torch.equal(attack.poison(honest, elsewhere).encoder, honest.encoder)  # it knows no poison yet
    sent = attack.poison(first.honest, first.seen)
    later = attack.poison(first.honest, elsewhere)
    assert bool((sent.rows != first.honest.rows).any())
    assert torch.equal(later.rows, first.honest.rows)
    assert torch.equal(sent.encoder, first.honest.encoder) == (when == "absent")
    assert torch.equal(later.encoder, first.honest.encoder) == (when == "present")


def test_decoys_are_pushed_as_the_target_is() -> None:
    """The same ones in every round, whether or not the slice has the target."""
    round_ = attack_of(decoys=4)
    moved = (round_.sent.rows != round_.honest.rows).any(dim=2)  # [n, K]
    assert torch.equal(moved, moved[:1].expand_as(moved))  # by all devices
    slots = moved[0].nonzero().flatten()
    assert round_.seen.slots()[0] in slots
    attack = build_attack("adaptive", {"decoys": 4})
    decoys = attack.drawn_decoys(round_.seen)
    assert len({INSIDE, *decoys}) == 5
    assert round_.honest.items[slots].tolist() == sorted({INSIDE, *decoys})
    elsewhere = attack.poison(round_.honest, replace(round_.seen, targets=()))
    assert len((elsewhere.rows != round_.honest.rows).any(dim=2)[0].nonzero()) == 4


def test_a_single_device_resembles_nobody() -> None:
    g = torch.Generator().manual_seed(3)
    honest, poison = torch.randn(1, 50, generator=g), torch.randn(50, generator=g)
    expected = torch.lerp(honest, honest.norm() * F.normalize(poison, dim=0)[None], 0.4)
    torch.testing.assert_close(mixed(honest, poison, 0.4, TOLERANCE), expected)


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
        ({"mode": "table"}, "row, encoder, last_position, spread, unseen, neighbours"),
        ({"mix": 1.5}, "mix must be a share"),
        ({"near": 0}, "near"),
        ({"turns": 0}, "turns"),
        ({"holders": 0.0}, "holders must be a share above 0"),
        ({"tolerance": -0.1}, "tolerance must be 0 or more"),
        ({"when": "sometimes"}, "when must be one of present, absent, always"),
        ({"decoys": -1}, "decoys must be 0 or more"),
    ],
)
def test_parameters_out_of_range_are_refused(params: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build_attack("adaptive", params)
