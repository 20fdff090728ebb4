"""Hostile nodes by what they do: each answers by hand, and all of them are served by one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from flwr.app import Context, Error, Message, MessageType, RecordDict
from torch import Tensor

from client.app import app as client_app
from common import wire
from common.tasks import EXPOSURES, GROUPS, METRICS, Enrolment, EvaluateSums, TrainTask
from common.updates import DeviceUpdates
from tests.deployment.hostile import HostileNode

LONGEST = 2**31 - 1
"""The longest history that a message can claim."""


class Role:
    """A node with the log ``path``, honest but for what a subclass changes.

    asked: round -> the devices that it was to train.
    """

    def __init__(self, fleet: str, path: str = "") -> None:
        self.node = HostileNode(fleet)
        self.asked: dict[int, list[int]] = {}
        self._context = Context(1, self.node.id, {"path": path}, RecordDict(), {})

    def answer(self, message: Message) -> None:
        kind = message.metadata.message_type
        if kind == MessageType.TRAIN:
            task = wire.decode_train_task(message.content)
            self.asked[task.round] = task.devices.tolist()
            reply = self.train(message, task)
        else:
            reply = self.enrol(message) if kind == MessageType.QUERY else self.evaluate(message)
        if reply is not None:
            self.node.honest(reply)

    def enrol(self, message: Message) -> Message:
        return self.honest(message)

    def train(self, message: Message, task: TrainTask) -> Message | None:
        return self.honest(message)

    def evaluate(self, message: Message) -> Message:
        return self.honest(message)

    def honest(self, message: Message) -> Message:
        return client_app(message, self._context)


class Claimant(Role):
    """Enrols ``claim``, int64 [m] ascending, and says that ``served`` devices find all they look for."""

    def __init__(self, fleet: str, claim: Tensor, served: int) -> None:
        super().__init__(fleet)
        self.claim, self.served = claim, served

    def enrol(self, message: Message) -> Message:
        return claimed(message, self.claim)

    def train(self, message: Message, task: TrainTask) -> Message | None:
        n, made = len(task.devices), torch.Generator().manual_seed(task.round)
        size = n, len(task.items), task.model.table.shape[1]
        updates = DeviceUpdates(
            encoder=0.01 * torch.randn(n, len(task.model.encoder), generator=made),
            rows=0.01 * torch.randn(size, generator=made),
            items=task.items,
            history=torch.full((n,), LONGEST, dtype=torch.int32),
            device=task.devices,
            touched=None,
        )
        return Message(wire.encode_updates(updates, task.run, task.round, "float32"), reply_to=message)

    def evaluate(self, message: Message) -> Message:
        task = wire.decode_evaluate_task(message.content)
        metrics = torch.zeros(len(GROUPS), len(METRICS), dtype=torch.float64)
        metrics[0] = self.served
        none = torch.zeros(len(task.targets), dtype=torch.int64)
        exposure = torch.zeros(len(task.targets), len(EXPOSURES), dtype=torch.float64)
        sums = EvaluateSums(metrics, torch.tensor([self.served, 0, 0, 0, 0]), exposure, none)
        return Message(wire.encode_evaluate_sums(sums, task.run, task.round), reply_to=message)


class Heckler(Role):
    """Answers with errors in words of its own, the first of which may be long."""

    def __init__(self, fleet: str, text: str, first: str = "") -> None:
        super().__init__(fleet)
        self.text, self.first = text, first

    def enrol(self, message: Message) -> Message:
        text, self.first = self.text + self.first, ""
        return Message(Error(code=1, reason=text), reply_to=message)


class Sleeper(Role):
    """Trains until its turn comes, and is silent in ``since`` and whenever it is asked again."""

    def __init__(self, fleet: str, path: str, since: int) -> None:
        super().__init__(fleet, path)
        self.since = since

    def train(self, message: Message, task: TrainTask) -> Message | None:
        return self.honest(message) if task.round < self.since else None


class Steerer(Sleeper):
    """A sleeper that enrols again with ``claim``: numbers that are to be drawn in that very round."""

    def __init__(self, fleet: str, path: str, since: int, claim: Tensor) -> None:
        super().__init__(fleet, path, since)
        self.claim = claim

    def enrol(self, message: Message) -> Message:
        return claimed(message, self.claim) if self.since in self.asked else self.honest(message)


def claimed(message: Message, devices: Tensor) -> Message:
    history = torch.full((len(devices),), LONGEST, dtype=torch.int32)
    return Message(wire.encode_enrolment(Enrolment(devices, history)), reply_to=message)


def play(cast: Sequence[Role], going: Callable[[], bool]) -> None:
    """Serve every node of ``cast``, which may grow meanwhile, and close all of them."""
    try:
        while going():
            busy = [role.node.turn(role.answer) for role in [*cast]]
            if not any(busy):
                time.sleep(0.03)
    finally:
        for role in cast:
            role.node.close()
