"""A Flower Grid whose nodes live in this process: same messages, no network."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

from flwr.app import Context, Message, RecordDict
from flwr.app.user_config import UserConfig, UserConfigValue
from flwr.serverapp import Grid

from transport.flower import be_a_task
from transport.messages import (
    SERVER,
    App,
    ErrorCode,
    Run,
    answer,
    failure,
    record_bytes,
    record_from_bytes,
    round_trip,
    stamp,
)


class LocalGrid(Grid):
    """Nodes 1..n, one for each of ``node_configs``, that all run ``client_app``.

    A node keeps its Context, and so its state, between messages. Replies are computed when they are
    pulled, one after the other: a round costs no more memory than its replies, and there are no
    stragglers, so that a run is repeatable. What the app gets and returns shares no mutable memory
    with the caller; ``serialise=True`` also sends everything through Flower's byte format.
    """

    def __init__(
        self,
        client_app: App,
        node_configs: Sequence[Mapping[str, UserConfigValue]],
        run_config: Mapping[str, UserConfigValue] | None = None,
        *,
        run_id: int = 1,
        serialise: bool = False,
    ) -> None:
        be_a_task()  # whoever has a grid sends messages
        self._app = client_app
        self._run = Run.create_empty(run_id)
        self._transfer = round_trip if serialise else copy.deepcopy
        self._numbers = count(1)
        self._waiting: dict[str, Message] = {}
        self._contexts = {
            node: Context(run_id, node, dict(config), RecordDict(), dict(run_config or {}))
            for node, config in enumerate(node_configs, start=1)
        }
        self._run.override_config = _config(run_config)

    def set_run(self, run: Run) -> None:
        """Take over the run's number for this grid and the contexts of its nodes."""
        self._run = run
        for context in self._contexts.values():
            context.run_id = run.run_id

    @property
    def run(self) -> Run:
        """A copy of the run, as Flower's own grid gives it."""
        return copy.copy(self._run)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """The Message constructor; Flower keeps this method for old apps."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """1..n."""
        return list(self._contexts)

    def context(self, node: int) -> Context:
        """The node's own Context, for tests and for saving a run."""
        return self._contexts[node]

    def memory(self) -> dict[int, bytes]:
        """The state of every node that keeps one, for a checkpoint."""
        states = {node: context.state for node, context in self._contexts.items() if context.state}
        return {node: record_bytes(state) for node, state in states.items()}

    def remember(self, memory: Mapping[int, bytes]) -> None:
        """Give the nodes what :meth:`memory` kept; the others forget. Raises ValueError for other bytes."""
        for node, context in self._contexts.items():
            try:
                context.state = record_from_bytes(memory.get(node, b""))
            except ValueError as error:
                raise ValueError(f"the state of node {node} cannot be read") from error

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Queue the messages; their ids come back in the same order."""
        ids = []
        for message in messages:
            number = f"{next(self._numbers):016x}"
            self._waiting[number] = stamp(message, number=number, run=self._run.run_id, sender=SERVER)
            ids.append(number)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Run the app for every message still waiting among ``message_ids``; each is answered once."""
        waiting = [self._waiting.pop(i) for i in dict.fromkeys(message_ids) if i in self._waiting]
        return [self._answer(message) for message in waiting]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """All replies, in the order of the messages; nothing is ever late here."""
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        context = self._contexts.get(node)
        if context is None:
            reply = failure(message, f"there is no node {node}", ErrorCode.NODE_UNAVAILABLE)
        else:
            reply = self._transfer(answer(self._app, self._transfer(message), context))
        return stamp(reply, number=f"{next(self._numbers):016x}")


def _config(values: Mapping[str, UserConfigValue] | None) -> UserConfig:
    return dict(values or {})
