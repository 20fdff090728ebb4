"""What every attack promises, and a malicious node in a round: its devices, its targets, its honest reply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from flwr.app import RecordDict

from attacks import Attack, View
from client.batch import Batch
from client.cohort import Cohort
from common import wire
from common.seeding import generator
from common.tasks import TrainTask
from common.updates import DeviceUpdates
from common.wire import UpdateSpec
from experiments.contracts import require, samples
from server.round.faults import faults

INSIDE, OUTSIDE = 11, 10
"""Items in and not in the slice of the round."""
LENGTHS = (2, 5, 11, 25)
KINDS = ("none", "data", "model", "protocol")
GOALS = ("none", "untargeted", "targeted")
Negatives = Literal["slice", "full", "device"]
Make = Callable[[], Attack]


def cohort(task: TrainTask, wanted: tuple[int, ...] = ()) -> Cohort:
    """The devices of the malicious node."""
    return replace(samples.cohort(task, LENGTHS), wanted=wanted)


def task_seed(task: TrainTask) -> int:
    """What colluding nodes agreed upon, another for another task."""
    return int(task.nonce, 16)


def view(task: TrainTask, targets: tuple[int, ...] = (INSIDE,), seed: int = 0) -> View:
    """What the node sees; its devices have not been trained yet."""
    return View(
        task, targets, cohort(task, targets), generator(seed, "attack"), RecordDict(), task_seed(task)
    )


@dataclass(frozen=True)
class Played:
    """One round of an attack: the poisoned updates, and what the node saw."""

    sent: DeviceUpdates
    seen: View

    @cached_property
    def honest(self) -> DeviceUpdates:
        """What the same devices send without the attack; trained where a check asks for it."""
        return cohort(self.seen.task, self.seen.targets).train()


def play(
    attack: Attack,
    task: TrainTask,
    targets: tuple[int, ...] = (INSIDE,),
    seed: int = 0,
    earlier: bool = False,
) -> Played:
    """Exactly what the ClientApp does with an attack; ``earlier``: it has seen one round before."""
    seen = poisoned_histories(attack, view(task, targets, seed))
    if earlier:
        before = replace(task, round=task.round - 1, model=samples.parameters(task.model_config, seed=1))
        attack.poison(cohort(before, targets).train(), replace(seen, task=before))
    relabel: Callable[[Batch, Any], Batch] = lambda batch, devices: attack.relabel(batch, seen)  # noqa: E731
    sent = attack.poison(seen.cohort.train(relabel), seen)
    return Played(sent, seen)


def poisoned_histories(attack: Attack, seen: View) -> View:
    """What the node sees once its devices' histories are what the attack makes of them."""
    own = seen.cohort
    histories = [
        attack.history(items, number, seen.targets, seen.seed)
        for items, number in zip(own.sequences, own.numbers, strict=True)
    ]
    return replace(seen, cohort=replace(own, sequences=histories))


def equal(a: DeviceUpdates, b: DeviceUpdates) -> bool:
    """Bit for bit, NaN included."""
    return all(
        torch.equal(torch.nan_to_num(getattr(a, f), nan=1e30), torch.nan_to_num(getattr(b, f), nan=1e30))
        for f in ("encoder", "rows")
    )


def rewrites(attack: Attack) -> bool:
    """Whether it changes the history itself: its devices are honest ones of another history."""
    return type(attack).history is not Attack.history


def tampers(attack: Attack) -> bool:
    """Whether it works on a finished message, and may leave the updates as they are."""
    kind = type(attack)
    return kind.tamper is not Attack.tamper or kind.evaluation is not Attack.evaluation


def a_task(negatives: Negatives = "slice", **train: Any) -> TrainTask:
    """A round of one of the three protocols."""
    return samples.task(negatives=negatives, device_negatives=6, **train)


def told(make: Make) -> None:
    """It says of what kind it is, what its goal is, and what it has to know."""
    kind = type(make())
    require(kind.kind in KINDS, f"kind is {kind.kind!r}; valid: {', '.join(KINDS)}")
    require(kind.goal in GOALS, f"goal is {kind.goal!r}; valid: {', '.join(GOALS)}")
    require(kind.knowledge, "knowledge is empty")
    require(kind.__doc__, "it has no docstring")


def form(make: Make) -> None:
    """Its updates have the shape of honest ones, under every protocol."""
    for negatives in get_args(Negatives):
        found = play(make(), a_task(negatives))
        honest, sent = found.honest, found.sent
        require(sent.encoder.shape == honest.encoder.shape, f"{negatives}: the encoder has another shape")
        require(torch.equal(sent.device, honest.device), f"{negatives}: it answers for other devices")
        if rewrites(make()):  # other histories, other rows
            same = sent.rows.shape[::2] == honest.rows.shape[::2]
            require(same, f"{negatives}: the rows have another shape")
            continue
        require(sent.rows.shape == honest.rows.shape, f"{negatives}: the rows have another shape")
        require(sent.encoder.dtype == sent.rows.dtype == torch.float32, f"{negatives}: it is not float32")
        for field in ("items", "history", "touched"):
            mine, theirs = getattr(sent, field), getattr(honest, field)
            same = (mine is None and theirs is None) or torch.equal(mine, theirs)
            require(same, f"{negatives}: it changes {field}")


def admitted(make: Make) -> None:
    """Of a data or model attack admission refuses nothing: it must reach the rule."""
    if make().kind == "protocol":
        return
    for negatives in get_args(Negatives):
        found = faults(play(make(), a_task(negatives)).sent)
        why = ", ".join(sorted({str(reason) for reason, _ in found.values()}))
        require(not found, f"{negatives}: admission refuses {len(found)} updates ({why})")


def travels(make: Make) -> None:
    """Its updates cross the wire."""
    if tampers(make()):
        return
    task = samples.task()
    sent = play(make(), task).sent
    for dtype in ("float16", "float32"):
        record = wire.encode_updates(sent, task.run, task.round, dtype)
        spec = UpdateSpec(
            run=task.run,
            round=task.round,
            num_parameters=len(task.model.encoder),
            dim=samples.DIM,
            items=task.items,
            num_items=samples.ITEMS,
            devices=torch.arange(len(LENGTHS)),
        )
        found = wire.decode_updates(make().tamper(record, view(task)), spec)
        same = torch.allclose(found.encoder, sent.encoder, rtol=2e-3, atol=2e-3, equal_nan=True)
        require(same, f"as {dtype} the encoder arrives as another one")
        require(torch.equal(found.rows.isfinite(), sent.rows.isfinite()), f"as {dtype} rows arrive broken")


def repeatable(make: Make) -> None:
    """The same seed gives the same attack: view.generator is the only chance."""
    for negatives in get_args(Negatives):
        task = a_task(negatives, window="random")
        state = torch.get_rng_state()
        torch.manual_seed(1)
        first = play(make(), task).sent
        torch.manual_seed(2)
        second = play(make(), task).sent
        torch.set_rng_state(state)
        require(equal(first, second), f"{negatives}: two attacks with the same seed differ")


def input_kept(make: Make) -> None:
    """Batches, updates and model that it is given are neither changed nor handed back."""
    task = samples.task()
    encoder, table = task.model.encoder.clone(), task.model.table.clone()
    attack, seen = make(), view(task)
    inputs, targets = torch.tensor([[0, 3, 7]]), torch.tensor([[0, 7, 4]])
    batch = Batch(inputs.clone(), targets.clone())
    attack.relabel(batch, seen)
    require(torch.equal(batch.inputs, inputs) and torch.equal(batch.targets, targets), "it changes a batch")
    honest = cohort(task).train()
    copy = replace(honest, encoder=honest.encoder.clone(), rows=honest.rows.clone())
    sent = attack.poison(honest, seen)
    require(equal(honest, copy), "it changes the honest updates in place")
    if sent is not honest:
        sent.rows.fill_(7.0)
        require(torch.equal(honest.rows, copy.rows), "its rows are a view of the honest ones")
    same = torch.equal(task.model.encoder, encoder) and torch.equal(task.model.table, table)
    require(same, "it changes the global model")


def acts(make: Make) -> None:
    """It does something, by its second round at the latest."""
    if tampers(make()) or make().kind == "none":
        return
    found = [play(make(), samples.task(), earlier=earlier) for earlier in (False, True)]
    require(not all(equal(one.honest, one.sent) for one in found), "all that it sends is honest")


def absent_targets(make: Make) -> None:
    """A target that the round does not train is not pushed: the updates are honest, or say nothing."""
    if make().goal != "targeted" or rewrites(make()):
        return
    for targets in ((), (OUTSIDE,)):
        found = play(make(), samples.task(), targets, earlier=True)
        silent = not bool(found.sent.rows.any()) and not bool(found.sent.encoder.any())
        require(equal(found.honest, found.sent) or silent, f"with targets {targets} its updates stand out")


CHECKS = (told, form, admitted, travels, repeatable, input_kept, acts, absent_targets)
