"""The ClientApp: a node enrols its devices, trains them, and evaluates them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from attacks import View
from attacks.attacker import Attacker, read_attacker
from client.batch import Batch
from client.cohort import Cohort
from client.disclosure import (
    Disclosure,
    allowed,
    check_training,
    fixed_bounds,
    grouped,
    noisy,
    placed,
    read_disclosure,
)
from client.fleet import Fleet, device_key, open_fleet
from client.privacy import protect
from client.ranking import answer_ranks, nothing
from client.ranking import evaluate as rank_devices
from common import wire
from common.data.types import Items, Times
from common.errors import ConfigError, WireError
from common.models import build_model
from common.seeding import Key, generator, subkey
from common.tasks import Enrolment, EvaluateSums, EvaluateTask, TrainTask
from common.updates import DeviceUpdates, concatenate

app = ClientApp()
DECOYS = "decoys"
"""Where a node keeps what its decoys are drawn from, in its own state."""


@app.query()
def enrol(message: Message, context: Context) -> Message:
    """Which devices this node stands for, and how long their histories are."""
    fleet = open_fleet(context.node_config)
    enrolment = Enrolment(
        devices=torch.tensor(fleet.numbers, dtype=torch.int64),
        history=torch.tensor([len(fleet.train(n)) for n in fleet.numbers], dtype=torch.int32),
    )
    return Message(wire.encode_enrolment(enrolment), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the devices asked for and send one update each."""
    return trained(message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Rank the catalogue for every device and send what the owner allows; an attack what it likes."""
    task: EvaluateTask = wire.decode_evaluate_task(message.content)
    fleet = open_fleet(context.node_config)
    _check_catalogue(task.model.table.shape[0] - 1, fleet)
    attacker = read_attacker(context.node_config)
    with torch.no_grad():
        if attacker is None:
            sums = told(task, fleet, read_disclosure(context.node_config), context.state)
        else:
            sums = attacker.rule.evaluation(nothing(len(task.targets)), lambda: ranked(task, fleet))
    return Message(wire.encode_evaluate_sums(sums, task.run, task.round), reply_to=message)


def ranked(task: EvaluateTask, fleet: Fleet) -> EvaluateSums:
    """The sums that ``task`` asks for, over all devices of the node."""
    histories, answers = fleet.histories(task.split)
    model, max_len = build_model(task.model_config).eval(), task.model_config.max_len
    return rank_devices(model, task.model, histories, answers, task.targets, task.quartiles, max_len)


def told(task: EvaluateTask, fleet: Fleet, tells: Disclosure, memory: RecordDict) -> EvaluateSums:
    """The answer of an honest node: exact sums of groups, or of a few devices randomised response."""
    histories, answers = fleet.histories(task.split)
    if len(answers) >= tells.min_group:
        targets = allowed(task, tells, memory)
        asked = replace(task, targets=targets, quartiles=fixed_bounds(task, memory))
        return placed(grouped(ranked(asked, fleet), tells.min_group), targets, task.targets)
    if not answers or not tells.epsilon:
        return nothing(len(task.targets))
    model, max_len = build_model(task.model_config).eval(), task.model_config.max_len
    ranks = answer_ranks(model, task.model, histories, answers, max_len)
    return noisy(nothing(len(task.targets)), ranks, tells.epsilon)


def trained(
    message: Message,
    context: Context,
    honest: Callable[[int], Sequence[DeviceUpdates]] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Message:
    """The answer to a training task.

    An embedded run can tell a malicious node what the honest ones sent in a round, and keeps a clock of
    its own. Raises ConfigError for ``knowledge: full`` anywhere else.
    """
    task = wire.decode_train_task(message.content)
    fleet = open_fleet(context.node_config)
    _check_catalogue(task.model.table.shape[0] - 1, fleet)
    attacker = read_attacker(context.node_config)
    if attacker is None:
        check_training(task, read_disclosure(context.node_config))
    key = device_key(context.node_config)
    if attacker is None or not attacker.attacks_in(task.round):
        lasting = lasting_key(context.state, key) if task.client_config.decoys else key
        return Message(honest_round(task, fleet, key, lasting), reply_to=message)
    if attacker.omniscient and honest is None:
        raise ConfigError("node config: knowledge is 'full'; a node on its own sees no updates but its own")
    others = honest(task.round) if attacker.omniscient and honest else ()
    seen = concatenate(others) if others else None
    return Message(attack_round(task, fleet, attacker, context.state, key, seen, sleep), reply_to=message)


def honest_round(task: TrainTask, fleet: Fleet, key: Key, lasting: Key) -> RecordDict:
    """The reply to one training task."""
    numbers = own_devices(task, fleet)
    sequences = [fleet.train(n) for n in numbers]
    cohort = Cohort(task, numbers, sequences, (), own_times(fleet, numbers, sequences), key)
    keys = [subkey(key, "noise", task.round, number) for number in numbers]
    steady = [subkey(lasting, "decoys", number) for number in numbers]
    updates = protect(cohort.train(), task.client_config, keys, steady)
    return wire.encode_updates(updates, task.run, task.round, task.wire_dtype)


def lasting_key(memory: RecordDict, key: Key) -> Key:
    """What decoys are drawn from: the same in every round of a run, or a mean over rounds would show them.

    A seed is the same by itself; of fresh bytes the first of a run are kept in the node's own state.
    """
    if isinstance(key, int):
        return key
    if DECOYS not in memory:
        memory[DECOYS] = ConfigRecord({"key": key})
    return bytes(memory[DECOYS]["key"])  # type: ignore[arg-type]


def attack_round(
    task: TrainTask,
    fleet: Fleet,
    attacker: Attacker,
    memory: RecordDict,
    key: Key,
    honest: DeviceUpdates | None,
    sleep: Callable[[float], None],
) -> RecordDict:
    """The reply of a malicious node to one training task."""
    rule, targets, numbers = attacker.rule, attacker.targets, own_devices(task, fleet)
    sequences = [rule.history(fleet.train(n), n, targets, attacker.seed) for n in numbers]
    cohort = Cohort(task, numbers, sequences, targets, own_times(fleet, numbers, sequences), key)
    draw = generator(attacker.seed, "attack", task.nonce)
    view = View(task, targets, cohort, draw, memory, attacker.seed, honest, sleep)

    def relabel(batch: Batch, devices: Sequence[int]) -> Batch:
        return rule.relabel(batch, view)

    updates = rule.poison(cohort.train(relabel), view)
    return rule.tamper(wire.encode_updates(updates, task.run, task.round, task.wire_dtype), view)


def own_devices(task: TrainTask, fleet: Fleet) -> list[int]:
    """Those devices of the task that are on this node. Raises WireError without any."""
    numbers = [int(n) for n in task.devices if int(n) in fleet.splits]
    if not numbers:
        raise WireError("devices", "unknown_device", "none of the devices asked for is on this node")
    return numbers


def own_times(fleet: Fleet, numbers: Sequence[int], sequences: Sequence[Items]) -> list[Times] | None:
    """Seconds of every interaction of ``sequences``; None without time stamps, or for a history made up."""
    if fleet.times is None:
        return None
    times = [fleet.train_times(n) for n in numbers]
    return times if all(len(t) == len(s) for t, s in zip(times, sequences, strict=True)) else None


def _check_catalogue(num_items: int, fleet: Fleet) -> None:
    if num_items != fleet.num_items:
        raise WireError(
            "table", "shape", f"the model has {num_items} items, this node's catalogue {fleet.num_items}"
        )
