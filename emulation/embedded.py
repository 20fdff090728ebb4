"""The ClientApp of an embedded run: the same app, in a world where one process can see and skip things."""

from __future__ import annotations

import logging

from flwr.app import Context, Message, MessageType

from attacks.app import app as attack_app
from attacks.app import attacked
from client.app import app as client_app
from client.node_settings import read_settings
from common import wire
from common.errors import FedSieveError
from common.tasks import TrainTask
from common.updates import DeviceUpdates
from transport.messages import NOBODY, AppFailed, ErrorCode, failure, stamp

_LOG = logging.getLogger(__name__)


class HeldTooLong(Exception):
    """A reply that nobody waits for any more."""


class Embedded:
    """``client.app`` and ``attacks.app`` on their nodes, with two doors that only one process has.

    Nodes with ``knowledge: full`` are told what the honest nodes answered in this round (with them on the
    grid, honest nodes must come before malicious ones). And a malicious node does not sleep: a reply that
    it holds for longer than ``deadline_s`` is lost at once, as an expired message is.
    """

    def __init__(self, deadline_s: float, omniscient: bool) -> None:
        self.deadline_s, self.omniscient = deadline_s, omniscient
        self._round = -1
        self._honest: list[DeviceUpdates] = []

    def __call__(self, message: Message, context: Context) -> Message:
        malicious = "attack" in context.node_config
        try:
            return self._answer(message, context, malicious)
        except FedSieveError:
            raise
        except Exception as error:
            name = context.node_config["attack"] if malicious else ""
            who = f"attack {name!r}" if malicious else "the training or ranking of honest devices"
            _LOG.warning("%s failed on a %s message", who, message.metadata.message_type, exc_info=True)
            own = [name, *str(context.node_config.get("components", "")).split(",")]
            checks = " and ".join(f"`fedsieve check {one}`" for one in dict.fromkeys(own) if one)
            advice = f"; {checks} would tell more" if checks else ""
            raise AppFailed(f"{who} failed: {type(error).__name__}: {error}{advice}") from error

    def _answer(self, message: Message, context: Context, malicious: bool) -> Message:
        if message.metadata.message_type != MessageType.TRAIN:
            return (attack_app if malicious else client_app)(message, context)
        if malicious:
            try:
                return attacked(message, context, self._heard, self._hold)
            except HeldTooLong as late:
                lost = failure(message, str(late), ErrorCode.REPLY_MESSAGE_UNAVAILABLE)
                stamp(lost, sender=NOBODY)  # not the node's word, but the grid's
                return lost
        reply = client_app(message, context)
        if self.omniscient and reply.has_content():
            where = read_settings(context.node_config).device
            self._overhear(wire.decode_train_task(message.content, device=where), reply)
        return reply

    def _heard(self, round_: int) -> list[DeviceUpdates]:
        return self._honest if round_ == self._round else []

    def _hold(self, seconds: float) -> None:
        if seconds >= self.deadline_s:
            raise HeldTooLong(f"held for {seconds:g} s, the deadline is {self.deadline_s:g} s")

    def _overhear(self, task: TrainTask, reply: Message) -> None:
        if task.round != self._round:
            self._round, self._honest = task.round, []
        self._honest.append(overheard(task, reply))


def overheard(task: TrainTask, reply: Message) -> DeviceUpdates:
    """What a reply to ``task`` says, as the server reads it."""
    spec = wire.UpdateSpec(
        run=task.run,
        round=task.round,
        num_parameters=len(task.model.encoder),
        dim=task.model.table.shape[1],
        items=task.rows,
        num_items=task.model.num_items,
        devices=task.devices,
        negatives=task.train_config.negatives,
    )
    return wire.decode_updates(reply.content, spec, task.model.table.device)
