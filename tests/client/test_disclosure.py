"""What a node tells of its users in an evaluation, also to a server that asks too much."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message, MessageType

from client.app import app
from client.disclosure import Disclosure, read_disclosure
from client.fleet import open_fleet
from client.node_settings import read_settings
from client.ranking import answer_ranks, counts, evaluate
from common import wire
from common.config import ModelConfig
from common.data import load, write_shards
from common.errors import ConfigError
from common.metrics import rank_values
from common.models import build_model, initial
from common.response import BUCKETS, LAST, debias, kept
from common.sampling import Sample
from common.seeding import generator
from common.tasks import METRICS, EvaluateSums, EvaluateTask, GlobalModel
from common.wire import SumsSpec
from emulation.local_grid import LocalGrid

ITEMS = 40
CONFIG = ModelConfig(dim=8, max_len=12, blocks=1)
MODEL = initial(CONFIG, ITEMS, generator(0, "model"))[0]
SALT = "5a" * 32
EVERY_ITEM = tuple(range(1, ITEMS + 1))
DATA = load("synthetic", f"devices=24,items={ITEMS},length=9")
ALL = {"data": "synthetic", "path": f"devices=24,items={ITEMS},length=9"}


def task(**changes: Any) -> EvaluateTask:
    base = EvaluateTask("1", 3, MODEL, CONFIG, "valid", EVERY_ITEM, (4, 5, 6))
    return replace(base, **changes)


def ask(tasks: Sequence[EvaluateTask], config: dict[str, Any]) -> list[EvaluateSums]:
    """The answers of one node to one message after another, as the server decodes them."""
    grid, spec = LocalGrid(app, [config]), SumsSpec("1", 3, torch.zeros(0), 0)
    found = []
    for one in tasks:
        (reply,) = grid.send_and_receive([Message(wire.encode_evaluate_task(one), 1, MessageType.EVALUATE)])
        assert not reply.has_error(), reply.error
        histories = [len(h) for h in open_fleet(read_settings(config)).histories(one.split)[0]]
        expect = replace(
            spec, histories=torch.tensor(histories), targets=len(one.targets), group=one.group > 0
        )
        found.append(wire.decode_evaluate_sums(reply.content, expect))
    return found


def answer(asked: EvaluateTask, config: dict[str, Any]) -> EvaluateSums:
    return ask([asked], config)[0]


@pytest.fixture
def alone(tmp_path: Path) -> list[dict[str, Any]]:
    """Nodes of one user each."""
    return [{"path": str(log)} for log in write_shards(DATA, 24, tmp_path)]


def test_a_node_of_one_user_does_not_tell_its_history(alone: list[dict[str, Any]]) -> None:
    """By the number of devices without an item, asked for every item, histories were read off exactly."""
    for node in alone:
        for config in (node, {**node, "exposure_targets": "1,2,3"}):
            found = answer(task(), config)
            assert not bool(found.eligible.any())
            assert not bool(found.exposure.any())
    everything = {"min_group": 1, "exposure_targets": ",".join(map(str, EVERY_ITEM[:16]))}
    found = answer(task(), {**alone[0], **everything})  # what its owner would have to write
    assert bool(found.eligible[:16].any())
    assert not bool(found.eligible[16:].any())


def test_a_node_of_one_user_tells_ranks_by_chance(alone: list[dict[str, Any]]) -> None:
    """A model that ranks items by their number reads the next item from an exact answer."""
    found = ask([task(model=by_number())] * 60, alone[0])
    assert {one.epsilon for one in found} == {3.0}
    assert all(int(one.count[0]) == 1 and not bool(one.count[1:].any()) for one in found)
    ranks = Counter(rank_of(one.metrics[0]) for one in found)
    assert len(ranks) > 8  # of 21; exact answers would all be the same one
    assert max(ranks.values()) < 30


def test_the_noise_is_not_that_of_a_seed(alone: list[dict[str, Any]]) -> None:
    torch.manual_seed(0)
    first = [rank_of(one.metrics[0]) for one in ask([task()] * 30, alone[0])]
    torch.manual_seed(0)
    assert first != [rank_of(one.metrics[0]) for one in ask([task()] * 30, alone[0])]


@pytest.mark.no_cover  # the same answer hundreds of times
def test_answers_by_chance_are_right_on_average(alone: list[dict[str, Any]]) -> None:
    """Through the node, the wire and the server's side of it.

    The chance is of no seed: six standard errors, by the formula and not by a sample with few misses.
    """
    times, epsilon = 500, 8.0
    config = {**alone[1], "evaluation_epsilon": epsilon}
    fleet = open_fleet(read_settings(config))
    network, (histories, answers) = build_model(CONFIG).eval(), fleet.histories("valid")
    with torch.no_grad():
        ranks = answer_ranks(network, MODEL, histories, answers, CONFIG.max_len)
    true = rank_values(*ranks.where(ranks < 20, LAST))[0]
    every = torch.tensor([*range(BUCKETS - 1), LAST])
    values, share = rank_values(every, every), kept(epsilon)  # [21, M]
    first, second = (share * v + (1 - share) * values.pow(p).mean(0) for v, p in ((true, 1), (true**2, 2)))
    error = ((second - first**2) / times).sqrt() / share
    found = torch.stack([debias(one).metrics[0] for one in ask([task(targets=())] * times, config)])
    assert bool(((found.mean(0) - true).abs() <= 6 * error).all())


def test_without_epsilon_a_small_node_abstains(alone: list[dict[str, Any]]) -> None:
    found = answer(task(), {**alone[0], "evaluation_epsilon": 0})
    assert not bool(found.count.any())
    assert not bool(found.metrics.any())


def by_number() -> GlobalModel:
    """Ranks item i at place i or N - i, whatever the history."""
    table = torch.zeros_like(MODEL.table)
    table[1:, 0] = torch.linspace(1, -1, ITEMS)
    return GlobalModel(MODEL.encoder, table)


def rank_of(metrics: torch.Tensor) -> int:
    """The rank that one device's filtered metrics have; 20 for all beyond the lists."""
    reciprocal = float(metrics[METRICS.index("mrr")])
    return min(20, round(1 / reciprocal) - 1)


def unique_lengths(config: dict[str, Any]) -> list[int]:
    """History lengths that one device of the node has alone, where a group of it could be made."""
    fleet = open_fleet(read_settings(config))
    lengths = Counter(len(fleet.train(n)) for n in fleet.numbers)
    return [length for length, count in lengths.items() if count == 1]


@pytest.fixture
def mixed(tmp_path: Path) -> dict[str, Any]:
    """A node of 24 users with histories of many lengths."""
    cut = [sequence[: 4 + i % 12 if i < 12 else 5] for i, sequence in enumerate(DATA.sequences)]
    (log,) = write_shards(replace(DATA, sequences=tuple(cut), times=None), 1, tmp_path)
    return {"path": str(log)}


def test_nobody_is_a_group_of_its_own(mixed: dict[str, Any]) -> None:
    """The bounds that single out a user of a unique history length give the sums of all, and no quartile."""
    lengths = unique_lengths(mixed)
    assert lengths
    for length in lengths:
        asked = task(model=by_number(), quartiles=(length - 1, length, length))
        found = answer(asked, mixed)
        assert found.count.tolist() == [24, 0, 0, 0, 0]
        assert not bool(found.metrics[1:].any())
        told = answer(asked, {**mixed, "min_group": 1})
        assert int(told.count[2]) == 1  # without the guard this user's rank is read from the message


def test_quartiles_of_enough_users_are_told(mixed: dict[str, Any]) -> None:
    found = answer(task(quartiles=(3, 3, 3), targets=()), {**mixed, "min_group": 5})
    histories, answers = open_fleet(read_settings(mixed)).histories("valid")
    with torch.no_grad():
        network = build_model(CONFIG).eval()
        exact = evaluate(network, MODEL, histories, answers, (), (3, 3, 3), CONFIG.max_len)
    assert int((exact.count[1:] > 0).sum()) == 2
    assert torch.equal(found.count, exact.count)
    torch.testing.assert_close(found.metrics, exact.metrics)


def test_later_bounds_are_answered_with_the_first(mixed: dict[str, Any]) -> None:
    """Bounds that move from message to message give sums that differ by one user."""
    config = {**mixed, "min_group": 1}
    asked = [task(quartiles=bounds, targets=()) for bounds in ((3, 5, 7), (3, 5, 8), (0, 0, 0))]
    found = ask(asked, config)
    assert [one.quartiles for one in found] == [(3, 5, 7)] * 3
    assert len({tuple(one.count.tolist()) for one in found}) == 1
    other = ask([asked[0], replace(asked[1], split="test")], config)
    assert [one.quartiles for one in other] == [(3, 5, 7), (3, 5, 8)]  # histories there are longer by one


def numbers_below(limit: int) -> list[int]:
    """Device numbers of :data:`ALL` whose hash under SALT is below."""
    fleet = open_fleet(read_settings(ALL))
    return fleet.evaluated("valid")[
        Sample(SALT, limit).holds(torch.from_numpy(fleet.evaluated("valid"))).numpy()
    ].tolist()


def of(count: int, salt: str = SALT) -> Sample:
    """A sample with ``count`` of the node's 24 devices."""
    return Sample.of(salt, torch.from_numpy(open_fleet(read_settings(ALL)).evaluated("valid")), count)


def test_a_sample_is_answered_with_the_sums_of_its_devices() -> None:
    part = of(10)
    found = answer(task(sample=part, targets=(7, 30)), {**ALL, "min_group": 1, "exposure_targets": "7,30"})
    fleet = open_fleet(read_settings(ALL))
    inside = np.isin(fleet.evaluated("valid"), numbers_below(part.below))
    histories, answers = fleet.histories("valid")
    with torch.no_grad():
        some = (histories.take(inside), answers[inside], (7, 30), (4, 5, 6), CONFIG.max_len)
        exact = evaluate(build_model(CONFIG).eval(), MODEL, *some)
    assert int(found.count[0]) == int(inside.sum()) == 10
    for name in ("metrics", "count", "exposure", "eligible"):
        torch.testing.assert_close(getattr(found, name), getattr(exact, name))


def test_a_later_sample_is_answered_with_the_first() -> None:
    """Samples that differ by one user would tell of that user."""
    config = {**ALL, "min_group": 5}
    asked = [task(sample=one, targets=()) for one in (of(12), of(13), of(12, "00" * 32), None)]
    first, more, other, everyone = ask(asked, config)
    assert int(first.count[0]) == 12
    for later in (more, other):
        assert torch.equal(later.count, first.count)
        assert torch.equal(later.metrics, first.metrics)
    assert int(everyone.count[0]) == 24


@pytest.mark.parametrize(("count", "exact"), [(4, False), (5, True), (19, True), (20, False), (24, True)])
def test_few_devices_in_a_sample_or_outside_it_answer_by_chance(count: int, exact: bool) -> None:
    """The sums of all less those of 20 would be the sums of 4."""
    found = answer(task(sample=of(count), targets=()), {**ALL, "min_group": 5})
    assert int(found.count[0]) == count
    assert found.epsilon == (0.0 if exact else 3.0)


def test_groups_whose_others_are_few_are_kept_back() -> None:
    """All less the sample is told of no quartile and of no target with fewer than ``min_group`` devices."""
    config = {**ALL, "min_group": 5, "exposure_targets": ",".join(map(str, EVERY_ITEM[:16]))}
    bounds, told = (6, 7, 8), 0
    fleet = open_fleet(read_settings(ALL))
    histories, answers = fleet.histories("valid")
    for size in range(5, 20):
        found = answer(task(sample=of(size), quartiles=bounds), config)
        outside = ~np.isin(fleet.evaluated("valid"), numbers_below(of(size).below))
        others = counts(histories.take(outside), answers[outside], EVERY_ITEM, bounds)
        for mine, theirs in ((found.count, others.count), (found.eligible, others.eligible)):
            few = (theirs > 0) & (theirs < 5)
            assert not bool((mine[few] > 0).any())
            told += int((mine > 0).sum())
    assert told > 15  # not only the first group, of all


def test_only_named_targets_are_answered_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    named = {**ALL, "exposure_targets": "7,30", "min_group": 1}
    with caplog.at_level(logging.WARNING, "client.disclosure"):
        whole, again, few = ask([task(), task(), task(targets=(30, 2, 7))], named)
    assert [r.getMessage() for r in caplog.records] == [
        "the server asks for the exposure of 38 items that exposure_targets does not name, such as 1"
    ]
    assert whole.eligible.nonzero().flatten().tolist() == [6, 29]
    assert torch.equal(whole.eligible, again.eligible)
    assert few.eligible.tolist() == [int(whole.eligible[29]), 0, int(whole.eligible[6])]
    assert torch.equal(few.exposure[[0, 2]], whole.exposure[[29, 6]])


def test_a_group_is_told_of_if_its_item_is_one_of_the_owners() -> None:
    asked = task(targets=(7, 30, 2), group=12)
    for named, group in (("7,30,12", True), ("7,30", False), ("12", True)):
        found = answer(asked, {**ALL, "exposure_targets": named, "min_group": 1})
        told = [str(target) in named.split(",") for target in asked.targets]
        assert (found.eligible[:3] > 0).tolist() == told
        assert (found.eligible[3:] > 0).tolist() == [one and group for one in told]
        assert not bool(found.exposure[found.eligible == 0].any())


def test_a_group_is_kept_back_where_it_or_the_others_are_few() -> None:
    """The exposure to all less that to the group is that to the others; of a sample and outside it, too."""
    named = {**ALL, "exposure_targets": ",".join(map(str, EVERY_ITEM[:16]))}
    histories, answers = open_fleet(read_settings(ALL)).histories("valid")
    reasons, told = Counter[str](), 0
    for size in (24, 17, 12):
        inside = np.isin(open_fleet(read_settings(ALL)).evaluated("valid"), numbers_below(of(size).below))
        for group in EVERY_ITEM[:16]:
            asked = task(targets=(7, 30, 2), group=group, sample=of(size) if size < 24 else None)
            found = answer(asked, {**named, "min_group": 4}).eligible.tolist()
            for place, target in enumerate(asked.targets):
                free = [target not in h and target != a for h, a in zip(histories, answers, strict=True)]
                held = [group in h for h in histories]
                sizes = {
                    f"{'in' if part else 'out'} {name}": sum(
                        f and h == of_group and i == part
                        for f, h, i in zip(free, held, inside if size < 24 else [True] * 24, strict=True)
                    )
                    for part in (True, False)
                    for name, of_group in (("group", True), ("others", False))
                }
                few = {name for name, count in sizes.items() if 0 < count < 4}
                if found[3 + place]:
                    assert not few
                    assert found[3 + place] == sizes["in group"]
                    told += 1
                reasons.update(few if found[place] else ())
    assert told > 0
    assert all(reasons[name] for name in ("in group", "in others", "out group", "out others"))


def test_exposure_over_few_devices_is_kept_back() -> None:
    named = {**ALL, "exposure_targets": "7,30"}
    free = answer(task(targets=(7, 30)), {**named, "min_group": 1}).eligible.tolist()
    assert 0 < min(free) < max(free) <= 24
    found = answer(task(targets=(7, 30)), {**named, "min_group": max(free)})
    assert found.eligible.tolist() == [n if n == max(free) else 0 for n in free]
    assert not bool(found.exposure[found.eligible == 0].any())


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("exposure_targets", "5,x", "exposure_targets: the log has no item 'x'"),
        ("exposure_targets", "#0", "exposure_targets: item #0; valid: #1 to #40"),
        ("exposure_targets", ",".join(map(str, range(1, 18))), "expected at most 16 items"),
        ("exposure_targets", True, "exposure_targets: the log has no item 'True'"),
        ("min_group", 0, "min_group is 0; expected a whole number from 1"),
        ("min_group", "5", "min_group is '5'; expected a whole number from 1"),
        ("min_group", True, "min_group is True"),
        ("min_group", 2.5, "min_group is 2.5"),
        ("evaluation_epsilon", 0.5, "evaluation_epsilon is 0.5; expected 1 to 16, or 0 to abstain"),
        ("evaluation_epsilon", -1, "evaluation_epsilon is -1"),
        ("evaluation_epsilon", float("nan"), "evaluation_epsilon is nan"),
        ("evaluation_epsilon", "3", "evaluation_epsilon is '3'"),
    ],
)
def test_wrong_values_are_one_line(key: str, value: Any, told: str) -> None:
    def start() -> None:
        settings = read_settings({**ALL, key: value})
        settings.tells.on(open_fleet(settings).item)

    with pytest.raises(ConfigError) as caught:
        start()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_node_config_says() -> None:
    assert read_disclosure({}) == Disclosure((), frozenset(), 5, 3.0)
    given = {"exposure_targets": "50, 12", "min_group": 8, "evaluation_epsilon": 2}
    assert read_disclosure(given) == Disclosure(("50", "12"), frozenset(), 8, 2.0)
    assert read_disclosure({"exposure_targets": 50}).names == ("50",)  # as a node config parses a number
