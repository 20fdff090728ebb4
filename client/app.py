"""The ClientApp of an honest node: it enrols its devices, trains them, and evaluates them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from client.batch import Histories
from client.cohort import Cohort
from client.disclosure import (
    Disclosure,
    allowed,
    allowed_group,
    check_components,
    check_training,
    fixed_bounds,
    fixed_sample,
    grouped,
    noisy,
    placed,
)
from client.fleet import Fleet, Numbers, open_fleet
from client.node_settings import NodeSettings, read_settings
from client.privacy import protect
from client.ranking import answer_ranks, counts, nothing
from client.ranking import evaluate as rank_devices
from common import wire
from common.data.ragged import Ragged
from common.data.types import Items, Times
from common.errors import WireError
from common.models import template
from common.sampling import Sample
from common.seeding import Key, subkey
from common.tasks import Enrolment, EvaluateSums, EvaluateTask, TrainTask
from common.updates import DeviceUpdates, of_slices

app = ClientApp()
Held = tuple[Histories, Numbers]
_LOG = logging.getLogger(__name__)
LOST = "lost"
DECOYS = "decoys"
"""Where a node keeps what its decoys are drawn from, in its own state."""


@app.query()
def enrol(message: Message, context: Context) -> Message:
    """Which devices this node stands for, and how long their histories are."""
    return enrolled(message, read_settings(context.node_config))


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the devices asked for and send one update each."""
    settings = read_settings(context.node_config)
    task = wire.decode_train_task(message.content, device=settings.device)
    fleet = fleet_for(task, settings)
    check_training(task, settings.tells)
    return Message(honest_round(task, fleet, settings, context.state), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Rank the catalogue for every device and send what the owner allows."""
    settings = read_settings(context.node_config)
    task = wire.decode_evaluate_task(message.content, device=settings.device)
    fleet = fleet_for(task, settings)
    with torch.no_grad():
        sums = evaluation_sums(task, fleet, settings.tells.on(fleet.item), context.state)
    return Message(wire.encode_evaluate_sums(sums, task.run, task.round), reply_to=message)


def fleet_for(task: TrainTask | EvaluateTask, settings: NodeSettings) -> Fleet:
    """The node's devices, once ``task`` is of their catalogue and names no code that the owner did not."""
    fleet = open_fleet(settings)
    check_catalogue(task.model.num_items, fleet)
    terms = task.client_config.regularisers if isinstance(task, TrainTask) else ()
    check_components(task.model_config, terms, settings.tells)
    return fleet


def enrolled(message: Message, settings: NodeSettings) -> Message:
    """The reply to an enrolment. Raises WireError where the server numbers its items in another way."""
    fleet = open_fleet(settings)
    question = wire.decode_question(message.content)
    wire.check_catalogue(fleet.fingerprint, question.catalogue, "the server's")
    if lost := max(0, question.known - len(fleet.numbers)):
        _LOG.warning(
            "the server knew %d devices of this node, and its log has %d: %d are lost, the others take part",
            question.known,
            len(fleet.numbers),
            lost,
        )
    enrolment = Enrolment(
        devices=torch.from_numpy(fleet.numbers),
        history=torch.from_numpy(fleet.trained.lengths.astype(np.int32)),
        catalogue=fleet.fingerprint,
    )
    return Message(wire.encode_enrolment(enrolment), reply_to=message)


def ranked(task: EvaluateTask, fleet: Fleet) -> EvaluateSums:
    """The sums that ``task`` asks for, over all devices of the node that it asks."""
    asked, _ = split_by_sample(task, fleet)
    model, max_len = template(task.model_config), task.model_config.max_len
    seconds = sample_seconds(task, fleet)
    return rank_devices(model, task.model, *asked, task.targets, task.quartiles, max_len, seconds, task.group)


def split_by_sample(task: EvaluateTask, fleet: Fleet) -> tuple[Held, Held]:
    """Histories and answers of the node's devices that are in the sample of ``task``, and of the others."""
    histories, answers = fleet.histories(task.split)
    if task.sample is None:
        return (histories, answers), (histories[:0], answers[:0])
    inside = in_sample(task.sample, task, fleet)  # [n]
    return (histories.take(inside), answers[inside]), (histories.take(~inside), answers[~inside])


def sample_seconds(task: EvaluateTask, fleet: Fleet) -> Ragged[np.float64] | None:
    """When the interactions of the histories that are asked for were; None where the log has no times."""
    seconds = fleet.seconds(task.split)
    if seconds is None or task.sample is None:
        return seconds
    return seconds.take(in_sample(task.sample, task, fleet))


def in_sample(sample: Sample, task: EvaluateTask, fleet: Fleet) -> NDArray[np.bool_]:
    """Which of the devices that can be evaluated are in ``sample``, bool [n]."""
    inside: NDArray[np.bool_] = sample.holds(torch.from_numpy(fleet.evaluated(task.split))).numpy()
    return inside


def evaluation_sums(task: EvaluateTask, fleet: Fleet, tells: Disclosure, memory: RecordDict) -> EvaluateSums:
    """The answer of an honest node: exact sums of groups, or of a few devices randomised response."""
    task = replace(task, sample=fixed_sample(task, memory))
    (histories, answers), others = split_by_sample(task, fleet)
    if len(answers) >= tells.min_group and not 0 < len(others[1]) < tells.min_group:
        targets, group = allowed(task, tells, memory), allowed_group(task, tells)
        asked = replace(task, targets=targets, quartiles=fixed_bounds(task, memory), group=group)
        rest = counts(*others, targets, asked.quartiles, group)
        return placed(grouped(ranked(asked, fleet), tells.min_group, rest, len(targets)), targets, task)
    if not len(answers) or not tells.epsilon:
        return nothing(task.exposures)
    model, max_len = template(task.model_config), task.model_config.max_len
    ranks = answer_ranks(model, task.model, histories, answers, max_len, sample_seconds(task, fleet))
    return noisy(nothing(task.exposures), ranks, tells.epsilon)


def honest_round(task: TrainTask, fleet: Fleet, settings: NodeSettings, memory: RecordDict) -> RecordDict:
    """The reply to one training task."""
    own, key = own_devices(task, fleet), settings.device_key()
    if len(own) < len(task.devices) and LOST not in memory:  # once a run
        memory[LOST] = ConfigRecord({"devices": len(task.devices) - len(own)})
        _LOG.warning(
            "the server asks for %d devices that this node's log has not, such as %d; the others are trained",
            len(task.devices) - len(own),
            int(np.setdiff1d(task.devices.cpu().numpy(), own)[0]),
        )
    everyone = Cohort(task, own, fleet.train_histories(own), (), fleet.train_seconds(own), key)
    # Under noise nobody can tell a device that had nothing to predict: it must not say so itself.
    busy = np.arange(len(own)) if task.client_config.noise else everyone.busy()
    parts = [
        (number, protected(part.train(), task, part.devices.tolist(), key, memory))
        for number, part in everyone.take(busy).by_slice()
    ]
    updates = replace(of_slices(parts, task.rows), idle=torch.from_numpy(np.delete(own, busy)))
    return wire.encode_updates(updates, task.run, task.round, task.wire_dtype)


def protected(
    updates: DeviceUpdates, task: TrainTask, numbers: Sequence[int], key: Key, memory: RecordDict
) -> DeviceUpdates:
    """The updates as they may leave the devices; a device's own keys are made only where one is used."""
    config = task.client_config
    keys: list[bytes] = []
    steady: list[bytes] = []
    if config.decoys or config.clip * config.noise:
        keys = [subkey(key, "noise", task.round, number) for number in numbers]
    if config.decoys:
        lasting = lasting_key(memory, key)
        steady = [subkey(lasting, "decoys", number) for number in numbers]
    return protect(updates, config, keys, steady)


def lasting_key(memory: RecordDict, key: Key) -> Key:
    """What decoys are drawn from: the same in every round of a run, or a mean over rounds would show them.

    A seed is the same by itself; of fresh bytes the first of a run are kept in the node's own state.
    """
    if isinstance(key, int):
        return key
    if DECOYS not in memory:
        memory[DECOYS] = ConfigRecord({"key": key})
    return bytes(memory[DECOYS]["key"])  # type: ignore[arg-type]


def own_devices(task: TrainTask, fleet: Fleet) -> Numbers:
    """Those devices of the task that are on this node, int64. Raises WireError without any."""
    asked: Numbers = task.devices.cpu().numpy()
    numbers = asked[fleet.positions(asked) >= 0]
    if not len(numbers):
        raise WireError("devices", "unknown_device", "none of the devices asked for is on this node")
    return numbers


def own_times(fleet: Fleet, numbers: Numbers, sequences: Sequence[Items]) -> Sequence[Times] | None:
    """Seconds of every interaction of ``sequences``, what an attack made of the histories; None without."""
    times = fleet.train_seconds(numbers)
    if times is None:
        return None
    before = fleet.train_histories(numbers)
    return [times_of(*one) for one in zip(sequences, before, times, strict=True)]


def times_of(items: Items, before: Items, times: Times) -> Times:
    """Seconds of ``items``, a history that was ``before`` at ``times``.

    An interaction put in has the time of the one ahead of it, or of the first, so that all others keep their
    pauses. A history of another length that does not hold the old one is made up: it has no pauses at all.
    """
    if len(items) == len(before):
        return times
    found, place = np.zeros(len(items), dtype=np.int64), 0
    for number, item in enumerate(items):
        place += int(place < len(before) and item == before[place])
        found[number] = max(place - 1, 0)
    return times[found] if 0 < len(before) == place else np.zeros(len(items))


def check_catalogue(num_items: int, fleet: Fleet) -> None:
    if num_items != fleet.num_items:
        raise WireError(
            "table", "shape", f"the model has {num_items} items, this node's catalogue {fleet.num_items}"
        )
