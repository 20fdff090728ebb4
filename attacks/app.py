"""The ClientApp of a malicious node: it wraps the honest trainer; its config says what it does and when."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from attacks import Attack, View, build_attack
from attacks.parity import Parity
from client.app import enrolled, fleet_for, honest_round, own_devices, own_times, ranked
from client.app import evaluate as honest_evaluation
from client.app import train as honest_training
from client.batch import Batch
from client.cohort import Cohort
from client.fleet import Fleet
from client.node_settings import FLOWER_KEYS, NodeSettings, read_settings, whole
from client.node_settings import KEYS as OF_DEVICES
from client.ranking import nothing
from common import wire
from common.errors import ConfigError, choices
from common.items import split_names
from common.seeding import generator
from common.tasks import TrainTask
from common.updates import DeviceUpdates, concatenate, of_slices

Scalar = bool | int | float | str
KEYS = ("attack", "targets", "start_round", "period", "active", "rest", "knowledge", "params")
"""What the config of a malicious node holds beside the keys of an honest one."""

app = ClientApp()


@dataclass(frozen=True)
class Attacker:
    """``rule`` on ``targets`` from ``start_round`` on, in the first ``active`` rounds of every ``period``.

    seed: what colluding nodes agreed upon, from their node configs; omniscient: ``knowledge: full``, the
    honest updates of the round are seen (embedded runs alone); rest: what its devices do in the other rounds,
    None if they are honest. names: what the node config calls the targets; :meth:`on` finds their numbers.
    """

    rule: Attack
    targets: tuple[int, ...] = ()
    start_round: int = 1
    period: int = 1
    active: int = 1
    seed: int = 0
    omniscient: bool = False
    rest: Attack | None = None
    names: tuple[str, ...] = ()

    def on(self, fleet: Fleet) -> Attacker:
        """With the numbers that the items have in the node's own catalogue. Raises ConfigError."""
        targets = tuple(fleet.item(name, "node config: targets") for name in self.names)
        rule = self.rule.with_items(lambda name: fleet.item(name, "node config: params"))
        return replace(self, targets=targets, rule=rule)

    def in_round(self, round_: int) -> Attack | None:
        """What the node's devices do in ``round_``, None if they are honest."""
        since = round_ - self.start_round
        return self.rule if since >= 0 and since % self.period < self.active else self.rest


@app.query()
def enrol(message: Message, context: Context) -> Message:
    """As an honest node does."""
    return enrolled(message, node_settings(context.node_config))


@app.train()
def train(message: Message, context: Context) -> Message:
    """Updates as the attack has them, or honest ones in rounds of rest."""
    return attacked(message, context)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """What the attack likes to tell; most abstain."""
    attacker = read_attacker(context.node_config)
    if attacker is None:
        return honest_evaluation(message, _as_honest(context))
    settings = node_settings(context.node_config)
    task = wire.decode_evaluate_task(message.content, device=settings.device)
    fleet = fleet_for(task, settings)
    with torch.no_grad():
        sums = attacker.rule.evaluation(nothing(task.exposures), lambda: ranked(task, fleet))
    return Message(wire.encode_evaluate_sums(sums, task.run, task.round), reply_to=message)


def attacked(
    message: Message,
    context: Context,
    honest: Callable[[int], Sequence[DeviceUpdates]] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Message:
    """The answer to a training task.

    An embedded run can tell a malicious node what the honest ones sent in a round, and keeps a clock of
    its own. Raises ConfigError for ``knowledge: full`` anywhere else.
    """
    attacker = read_attacker(context.node_config)
    if attacker is None:
        return honest_training(message, _as_honest(context))
    settings = node_settings(context.node_config)
    task = wire.decode_train_task(message.content, device=settings.device)
    fleet = fleet_for(task, settings)
    attacker = attacker.on(fleet)
    rule = attacker.in_round(task.round)
    if rule is None:
        return Message(honest_round(task, fleet, settings, context.state), reply_to=message)
    if attacker.omniscient and honest is None:
        raise ConfigError("node config: knowledge is 'full'; a node on its own sees no updates but its own")
    others = honest(task.round) if attacker.omniscient and honest else ()
    seen = concatenate(others) if others else None
    reply = attack_round(task, fleet, settings, attacker, rule, context.state, seen, sleep)
    return Message(reply, reply_to=message)


def attack_round(
    task: TrainTask,
    fleet: Fleet,
    settings: NodeSettings,
    attacker: Attacker,
    rule: Attack,
    memory: RecordDict,
    honest: DeviceUpdates | None,
    sleep: Callable[[float], None],
) -> RecordDict:
    """The reply of a malicious node to one training task; ``rule``: what ``attacker`` does in this round."""
    targets, own = attacker.targets, own_devices(task, fleet)
    numbers, histories = own.tolist(), fleet.train_histories(own)
    sequences = [
        rule.history(items, n, targets, attacker.seed) for n, items in zip(numbers, histories, strict=True)
    ]
    times = own_times(fleet, own, sequences)
    cohort = Cohort(task, numbers, sequences, targets, times, settings.device_key())
    several = task.train_config.slices > 1

    def view_of(number: int, part: Cohort) -> View:
        draw = generator(attacker.seed, "attack", task.nonce, *([number] if several else []))
        theirs = honest.of_slice(number) if several and honest is not None else honest
        return View(part.task, targets, part, draw, memory, attacker.seed, theirs, sleep)

    def poisoned(view: View) -> DeviceUpdates:
        def relabel(batch: Batch, devices: Sequence[int]) -> Batch:
            return rule.relabel(batch, view)

        return rule.poison(view.cohort.train(relabel), view)

    chosen = rule.slices(cohort, targets) if several else None
    views = {number: view_of(number, part) for number, part in cohort.by_slice(chosen)}
    updates = of_slices([(number, poisoned(view)) for number, view in views.items()], task.rows)
    reply = wire.encode_updates(updates, task.run, task.round, task.wire_dtype)
    return rule.tamper(reply, next(iter(views.values())))


def _as_honest(context: Context) -> Context:
    """The same node without the keys of an attack; its state is shared."""
    own = _honest(context.node_config)
    return Context(context.run_id, context.node_id, own, context.state, context.run_config)


def node_settings(config: Mapping[str, Scalar]) -> NodeSettings:
    """What the config of a malicious node says of its devices. Raises ConfigError."""
    for key in config:
        if key not in (*KEYS, *OF_DEVICES, *FLOWER_KEYS):
            raise ConfigError(f"node config: unknown key {key!r}{choices(key, [*KEYS, *OF_DEVICES])}")
    return read_settings(_honest(config))


def _honest(config: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {key: value for key, value in config.items() if key not in KEYS}


def read_attacker(config: Mapping[str, Scalar]) -> Attacker | None:
    """The attacker that a node config describes, None for an honest node. Raises ConfigError."""
    name = str(config.get("attack", "none"))
    if name == "none":
        return None
    try:
        params = json.loads(str(config.get("params", "{}")))
        if not isinstance(params, dict):
            raise ValueError
    except ValueError:
        given = config["params"]
        raise ConfigError(f'node config: params is {given!r}; expected JSON, as in {{"scale": 3}}') from None
    times = {key: whole(config, key, 1) for key in ("start_round", "period", "active")}
    if times["active"] > times["period"]:
        raise ConfigError(f"node config: active is {times['active']}; expected at most period")
    knowledge = config.get("knowledge", "own")
    if knowledge not in ("own", "full"):
        raise ConfigError(f"node config: knowledge is {knowledge!r}; valid: own, full")
    rest = config.get("rest", "honest")
    if rest not in ("honest", "parity"):
        raise ConfigError(f"node config: rest is {rest!r}; valid: honest, parity")
    return Attacker(
        build_attack(name, params),
        (),
        **times,
        seed=whole(config, "seed"),
        omniscient=knowledge == "full",
        rest=Parity() if rest == "parity" else None,
        names=split_names(str(config.get("targets", ""))),
    )
