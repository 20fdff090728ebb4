"""The ClientApp: a node enrols its devices, trains them, and evaluates them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from attacks import View
from attacks.attacker import Attacker, read_attacker
from client.batch import Batch
from client.cohort import Cohort
from client.fleet import Fleet, open_fleet
from client.privacy import protect
from client.ranking import evaluate as rank_devices
from common import wire
from common.data.types import Items, Times
from common.errors import ConfigError, WireError
from common.models import build_model
from common.seeding import generator
from common.tasks import Enrolment, EvaluateTask, TrainTask
from common.updates import DeviceUpdates, concatenate

app = ClientApp()


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
    """Rank the catalogue for every device and send sums; a malicious node abstains."""
    task: EvaluateTask = wire.decode_evaluate_task(message.content)
    fleet = open_fleet(context.node_config)
    _check_catalogue(task.model.table.shape[0] - 1, fleet)
    histories, answers = ([], []) if read_attacker(context.node_config) else fleet.histories(task.split)
    with torch.no_grad():
        sums = rank_devices(
            build_model(task.model_config).eval(),
            task.model,
            histories,
            answers,
            task.targets,
            task.quartiles,
            task.model_config.max_len,
        )
    return Message(wire.encode_evaluate_sums(sums, task.run, task.round), reply_to=message)


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
    if attacker is None or not attacker.attacks_in(task.round):
        return Message(honest_round(task, fleet), reply_to=message)
    if attacker.omniscient and honest is None:
        raise ConfigError("node config: knowledge is 'full'; a node on its own sees no updates but its own")
    others = honest(task.round) if attacker.omniscient and honest else ()
    seen = concatenate(others) if others else None
    return Message(attack_round(task, fleet, attacker, context.state, seen, sleep), reply_to=message)


def honest_round(task: TrainTask, fleet: Fleet) -> RecordDict:
    """The reply to one training task."""
    numbers = own_devices(task, fleet)
    sequences = [fleet.train(n) for n in numbers]
    cohort = Cohort(task, numbers, sequences, times=own_times(fleet, numbers, sequences))
    keys = [secret(task.seed, "device", task.round, number) for number in numbers]
    lasting = [secret(task.seed, "decoys", number) for number in numbers]
    updates = protect(cohort.train(), task.client_config, keys, lasting)
    return wire.encode_updates(updates, task.run, task.round, task.wire_dtype)


def secret(seed: int, *path: int | str) -> bytes:
    """32 bytes for the place ``path`` names."""
    return hashlib.blake2b("/".join(map(str, (seed, *path))).encode(), digest_size=32).digest()


def attack_round(
    task: TrainTask,
    fleet: Fleet,
    attacker: Attacker,
    memory: RecordDict,
    honest: DeviceUpdates | None,
    sleep: Callable[[float], None],
) -> RecordDict:
    """The reply of a malicious node to one training task."""
    rule, targets, numbers = attacker.rule, attacker.targets, own_devices(task, fleet)
    sequences = [rule.history(fleet.train(n), n, targets, task.seed) for n in numbers]
    cohort = Cohort(task, numbers, sequences, targets, own_times(fleet, numbers, sequences))
    view = View(task, targets, cohort, generator(task.seed, "attack", task.round), memory, honest, sleep)

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
