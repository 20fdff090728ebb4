"""The ClientApp: a node enrols its devices, trains them, and evaluates them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from attacks import Attack, View, build_attack
from client.batch import Batch
from client.cohort import Cohort
from client.fleet import Fleet, open_fleet
from client.privacy import protect
from client.ranking import evaluate as rank_devices
from common import wire
from common.errors import ConfigError, WireError
from common.models import build_model
from common.seeding import generator
from common.tasks import Enrolment, EvaluateTask, TrainTask

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
    task = wire.decode_train_task(message.content)
    fleet = open_fleet(context.node_config)
    _check_catalogue(task.model.table.shape[0] - 1, fleet)
    return Message(local_round(task, fleet, attacker(context), context), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Rank the catalogue for every device and send sums; a malicious node abstains."""
    task: EvaluateTask = wire.decode_evaluate_task(message.content)
    fleet = open_fleet(context.node_config)
    _check_catalogue(task.model.table.shape[0] - 1, fleet)
    histories, answers = ([], []) if attacker(context) else fleet.histories(task.split)
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


def local_round(
    task: TrainTask, fleet: Fleet, attack: tuple[Attack, tuple[int, ...], int] | None, context: Context
) -> RecordDict:
    """The reply to one training task, honest or poisoned."""
    numbers = [int(n) for n in task.devices if int(n) in fleet.splits]
    if not numbers:
        raise WireError("devices", "unknown_device", "none of the devices asked for is on this node")
    attacking = attack is not None and task.round >= attack[2]
    wanted = attack[1] if attack is not None and attacking else ()
    times = None if fleet.times is None else [fleet.train_times(n) for n in numbers]
    cohort = Cohort(task, numbers, [fleet.train(n) for n in numbers], wanted, times)
    if attack is None or not attacking:
        updates = protect(
            cohort.train(), task.client_config.clip, task.client_config.noise, cohort.generators
        )
        return wire.encode_updates(updates, task.run, task.round, task.wire_dtype)
    rule, targets, _ = attack
    view = View(task, targets, cohort, generator(task.seed, "attack", task.round), context.state)

    def relabel(batch: Batch, devices: Sequence[int]) -> Batch:
        return rule.relabel(batch, view)

    updates = rule.poison(cohort.train(relabel), view)
    return rule.tamper(wire.encode_updates(updates, task.run, task.round, task.wire_dtype), view)


def attacker(context: Context) -> tuple[Attack, tuple[int, ...], int] | None:
    """(attack, targets, first round) if the node config makes this node malicious."""
    config = context.node_config
    name = str(config.get("attack", "none"))
    if name == "none":
        return None
    try:
        params = json.loads(str(config.get("params", "{}")))
        targets = tuple(int(t) for t in str(config.get("targets", "")).split(",") if t.strip())
    except ValueError as error:
        raise ConfigError(f"node config: params must be JSON and targets item numbers: {error}") from error
    return build_attack(name, params), targets, int(config.get("start_round", 1))


def _check_catalogue(num_items: int, fleet: Fleet) -> None:
    if num_items != fleet.num_items:
        raise WireError(
            "table", "shape", f"the model has {num_items} items, this node's catalogue {fleet.num_items}"
        )
