"""The parts of a round on a device that is not there: the values of the CPU, nothing mixed, none copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pytest
import torch
from flwr.app import RecordDict
from torch import Tensor

from attacks import ATTACKS, View
from client.batch import Batch, Rows
from client.cohort import Cohort, Relabel
from client.privacy import protect
from common.config import ClientConfig
from common.seeding import generator, subkey
from common.tasks import TrainTask
from common.updates import DeviceUpdates
from experiments.contracts import aggregators as rounds
from experiments.contracts import constraints as steps
from experiments.contracts import optimizers as server_steps
from experiments.contracts import samples
from experiments.contracts.attacks import LENGTHS, poisoned_histories, task_seed
from server.aggregators import AGGREGATORS, Aggregate, Aggregator
from server.aggregators.pre import KNOWN, Composed, Heat, Heated, Mixer
from server.constraints import CONSTRAINTS
from server.optimizers import OPTIMIZERS
from tests.fake_device import (
    DEVICE,
    FakeDevice,
    FakeTensor,
    MixedDevices,
    fake_device,
    moved,
    on_device,
    on_host,
)

INSIDE = 11


def alike(one: Any, other: Any, tolerance: float = 1e-5) -> None:
    """Tensors, and what holds them, equal but for the order of sums."""
    if isinstance(one, Tensor):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, on_host(other), rtol=tolerance, atol=tolerance, equal_nan=True)
    elif isinstance(one, dict):
        assert set(one) == set(other)
        for key in one:
            alike(one[key], other[key], tolerance)
    elif hasattr(one, "__dataclass_fields__"):
        for name in one.__dataclass_fields__:
            alike(getattr(one, name), getattr(other, name), tolerance)
    elif isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-4, abs=1e-5)
    else:
        assert one == other


def resident(*values: Tensor | None) -> None:
    assert all(isinstance(one, FakeTensor) for one in values if one is not None)


def nothing_copied(device: FakeDevice, *allowed: str) -> None:
    strange = {place: count for place, count in device.copies.items() if not place.startswith(allowed)}
    assert not strange, f"copied to the host: {strange}"


def test_the_device_refuses_what_a_gpu_refuses() -> None:
    with fake_device() as device:
        here = torch.arange(3.0).to(DEVICE)
        with pytest.raises(MixedDevices):
            here + torch.ones(3)
        with pytest.raises(MixedDevices):
            torch.ones(3)[here.long()]
        with pytest.raises(MixedDevices):
            torch.rand(3, device=DEVICE)
        with pytest.raises(TypeError):
            here.numpy()
        assert (here + torch.tensor(1.0))[torch.tensor([0, 2])].tolist() == [1.0, 3.0]
        assert sum(device.copies.values()) == 1


def two_rounds(
    rule: Aggregator, all_: Sequence[DeviceUpdates], device: torch.device | None
) -> tuple[Aggregate, Any]:
    """The rule's result of the second round, and its state, on ``device``."""

    def place(value: Any) -> Any:
        return value if device is None else moved(value, device)

    state = place(rule.init())
    for number, updates in enumerate(all_):
        round_ = replace(rounds.served(updates, rounds.F, seed=number), number=number + 1)
        round_ = replace(round_, model=place(round_.model), root=place(round_.root))
        result, state = rule(place(updates), state, round_)
    return result, state


@pytest.mark.parametrize("kind", ["slice", "device", "large"])
@pytest.mark.parametrize("name", sorted(AGGREGATORS))
def test_rules(name: str, kind: str) -> None:
    make = rounds.classic if kind == "device" else rounds.make_updates
    width = {"width": 100_000} if kind == "large" else {}
    all_ = [make(rounds.N, seed, **width) for seed in (1, 2)]
    with torch.no_grad():
        expected, kept = two_rounds(AGGREGATORS[name](), all_, None)
        with fake_device() as device:
            found, state = two_rounds(AGGREGATORS[name](), all_, DEVICE)
            resident(found.encoder, found.rows, found.weights)
    alike(expected, found)
    alike(dict(kept), dict(state))
    nothing_copied(device, *(["server/aggregators/"] if AGGREGATORS[name].host else []))


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_mixers(name: str) -> None:
    part: Mixer | Heat = KNOWN[name]()
    inner = AGGREGATORS["sieve"]()
    rule = Heated(part, inner) if isinstance(part, Heat) else Composed((part,), inner)
    all_ = [rounds.classic(24, seed) for seed in (1, 2)]
    with torch.no_grad(), fake_device() as device:
        found, _ = two_rounds(rule, all_, DEVICE)
    alike(two_rounds(rule, all_, None)[0], found)
    nothing_copied(device, "server/aggregators/pre/base.py:__call__")


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_server_steps(name: str) -> None:
    def run(here: bool) -> Any:
        place = on_device if here else (lambda value: value)
        rule = OPTIMIZERS[name]()
        state = rule.init(*place(server_steps.model()))
        for seed in range(3):
            delta, state = rule.step(place(server_steps.update(seed)), state, 0.1)
        return delta, dict(state)

    with fake_device() as device:
        found, state = run(here=True)
        resident(found.rows, *found.encoder.values(), *state.values())
    expected, kept = run(here=False)
    alike(expected, found)
    alike(kept, state)
    nothing_copied(device)
    assert not device.scalars


@pytest.mark.parametrize("name", sorted(CONSTRAINTS))
def test_constraints(name: str) -> None:
    def run(here: bool) -> Any:
        place = on_device if here else (lambda value: value)
        part = CONSTRAINTS[name]()
        state, host = part.init(place(steps.model())), steps.evidence()
        told = replace(
            host,
            popularity=place(host.popularity),
            users=lambda *given: place(host.users(*given)),
            round_marks=place(host.round_marks),
            witnesses=lambda most: place(host.witnesses(most)),
        )
        for seed in range(1, 4):
            delta = place(steps.louder(steps.step(seed, 5.0), [0], 100.0))
            delta, state, figures = part(place(steps.model()), delta, state, told)
        return delta, dict(state), figures

    with torch.no_grad(), fake_device() as device:
        found, state, figures = run(here=True)
        resident(found.rows, *found.encoder.values())
    expected, kept, told = run(here=False)
    alike(expected, found)
    alike(kept, state)
    alike(dict(told), dict(figures))
    nothing_copied(device, "server/constraints/encoder.py:__call__")


@dataclass(frozen=True)
class Elsewhere(Cohort):
    """A cohort whose task is on the device; it trains on the CPU, and nobody but the test knows."""

    @cached_property
    def twin(self) -> Cohort:
        given = {name: getattr(self, name) for name in ("numbers", "sequences", "wanted", "times", "key")}
        return Cohort(on_host(self.task), **given)

    @cached_property
    def rows(self) -> Rows:
        return on_device(self.twin.rows)

    def train(self, relabel: Relabel | None = None) -> DeviceUpdates:
        def there(batch: Batch, devices: Sequence[int]) -> Batch:
            assert relabel is not None
            return on_host(relabel(on_device(batch), devices))

        return on_device(self.twin.train(there if relabel else None))


def view_of(task: TrainTask, here: bool) -> View:
    kind = Elsewhere if here else Cohort
    own = kind(
        on_device(task) if here else task, range(len(LENGTHS)), samples.histories(LENGTHS), (INSIDE,), key=5
    )
    return View(own.task, (INSIDE,), own, generator(0, "attack"), RecordDict(), task_seed(task))


def attacked(name: str, negatives: str, here: bool) -> DeviceUpdates:
    """Two rounds of an attack; the updates of the second."""
    attack, memory = ATTACKS[name](), RecordDict()
    for number in (2, 3):
        task = samples.task(negatives=negatives, device_negatives=6)
        task = replace(task, round=number, model=samples.parameters(task.model_config, seed=number))
        seen = poisoned_histories(attack, replace(view_of(task, here), memory=memory))
        relabel: Relabel = lambda batch, devices: attack.relabel(batch, seen)  # noqa: B023, E731
        sent = attack.poison(seen.cohort.train(relabel), seen)
    return sent


@pytest.mark.parametrize("negatives", ["slice", "device"])
@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_attacks(name: str, negatives: str) -> None:
    expected = attacked(name, negatives, here=False)
    with fake_device() as device:
        found = attacked(name, negatives, here=True)
        resident(found.encoder, found.rows, found.items)
    alike(expected, found, 1e-4)
    nothing_copied(device, "attacks/", "common/probes.py:made_up")


@pytest.mark.parametrize("negatives", ["slice", "device"])
@pytest.mark.parametrize("how", ["sign", "top_k"])
def test_what_a_device_does_to_its_update(negatives: str, how: str) -> None:
    updates = Cohort(
        samples.task(negatives=negatives, device_negatives=6), range(9), samples.histories(), key=5
    ).train()
    config = ClientConfig(clip=1.0, noise=0.5, decoys=2, quantise=how, top_k=3)
    keys = [subkey(1, "noise", number) for number in range(9)]
    expected = protect(updates, config, keys, keys)
    with fake_device() as device:
        found = protect(on_device(updates), config, keys, keys)
        resident(found.encoder, found.rows)
    alike(expected, found)
    nothing_copied(device, "client/privacy.py:with_decoys")
