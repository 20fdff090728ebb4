"""Which devices there are: nodes enrol, go silent, and come back."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from common.errors import WireError
from common.tasks import Enrolment
from common.wire import Reason, decode_enrolment
from server.exchange import exchange
from server.verdicts import AuditEntry

_LOG = logging.getLogger(__name__)
RETRY_ROUNDS = 5
"""A node that missed a deadline is asked again after this many rounds."""

ENROL_S = 30.0


@dataclass
class Roster:
    """Enrolled nodes and their devices; a node that does not answer sits out for some rounds.

    quota: devices one node may stand for. Clocks and messages live here; draws are pure functions.
    bounds: the quartiles of history length when they were first asked for; nodes keep to those too.
    first: the devices of each node when it first enrolled; what it adds later is a newcomer.
    trusted: nodes of the operator. They enrol as all others do, in ``roots``, and take no part in draws,
    evaluations or counts; nobody can claim to be one, because node ids are the SuperLink's.
    """

    quota: int
    nodes: dict[int, Enrolment] = field(default_factory=dict)
    resting: dict[int, int] = field(default_factory=dict)
    trusted: frozenset[int] = frozenset()
    roots: dict[int, Enrolment] = field(default_factory=dict)
    first: dict[int, frozenset[int]] = field(default_factory=dict)
    bounds: tuple[int, int, int] | None = None
    _claims: dict[int, int] = field(default_factory=dict)

    def refresh(self, grid: Grid, round_: int, wait_s: float = ENROL_S) -> None:
        """Ask nodes that are new, or rested enough, for their devices; forget those that left."""
        present = set(grid.get_node_ids())
        for gone in {*self.nodes, *self.roots} - present:
            self.nodes.pop(gone, None)
            self.roots.pop(gone, None)
        known = {*self.nodes, *self.roots}
        fresh = [n for n in sorted(present - known) if self.resting.get(n, 0) <= round_]
        if not fresh:
            return
        requests = [Message(RecordDict(), dst_node_id=n, message_type=MessageType.QUERY) for n in fresh]
        for node in fresh:
            self.rest(node, round_)
        for reply in exchange(grid, requests, wait_s):
            self._enrol(reply)

    def _enrol(self, reply: Message) -> None:
        node = reply.metadata.src_node_id
        if reply.has_error():
            _LOG.warning("node %d did not enrol: %s", node, reply.error.reason)
            return
        try:
            enrolment = decode_enrolment(reply.content, 1 << 24)
        except WireError as error:
            _LOG.warning("node %d did not enrol: %s", node, error)
            return
        self.resting.pop(node, None)
        if node in self.trusted:
            self.roots[node] = enrolment
            return
        if len(enrolment.devices) > self.quota:
            _LOG.warning("node %d claims %d devices, cut to %d", node, len(enrolment.devices), self.quota)
            self._claims[node] = len(enrolment.devices)
            enrolment = Enrolment(enrolment.devices[: self.quota], enrolment.history[: self.quota])
        self.nodes[node] = enrolment
        self.first.setdefault(node, frozenset(enrolment.devices.tolist()))

    def newcomers(self, identity: Iterable[tuple[int, int]]) -> frozenset[tuple[int, int]]:
        """Those (node, device) that their node did not enrol with at first."""
        return frozenset(who for who in identity if who[1] not in self.first.get(who[0], frozenset()))

    def cuts(self, round_: int) -> list[AuditEntry]:
        """Nodes that claimed more devices than the quota since the last call, as entries of ``round_``."""
        claims, self._claims = sorted(self._claims.items()), {}
        text = "claims {} devices, cut to the quota of {}"
        return [
            AuditEntry(round_, node, None, "refused", Reason.QUOTA.value, text.format(claimed, self.quota))
            for node, claimed in claims
        ]

    def rest(self, node: int, round_: int) -> None:
        """Leave a node out until ``RETRY_ROUNDS`` rounds from now."""
        self.nodes.pop(node, None)
        self.roots.pop(node, None)
        self.resting[node] = round_ + RETRY_ROUNDS

    def devices(self) -> list[tuple[int, int]]:
        """(device number, node) of every device, ascending: the same whatever the nodes' ids."""
        return sorted((int(d), node) for node, e in self.nodes.items() for d in e.devices)

    def sample(self, count: int, generator: torch.Generator) -> dict[int, Tensor]:
        """``count`` devices, each with the same chance: node -> device numbers int64 [m], ascending."""
        everyone = self.devices()
        chosen = torch.randperm(len(everyone), generator=generator)[:count]
        asked: dict[int, list[int]] = {}
        for index in sorted(chosen.tolist()):
            device, node = everyone[index]
            asked.setdefault(node, []).append(device)
        return {node: torch.tensor(devices) for node, devices in sorted(asked.items())}

    def quartiles(self) -> tuple[int, int, int]:
        """Bounds of the quartiles of history length, over all devices that there were when first asked."""
        if self.bounds is None and self.nodes:
            self.bounds = quartiles(h for e in self.nodes.values() for h in e.history.tolist())
        return self.bounds or (0, 0, 0)

    def allowance(self) -> int:
        """How many devices one node may stand for."""
        return self.quota


def quartiles(lengths: Iterable[int]) -> tuple[int, int, int]:
    """The lower medians at 25, 50 and 75 %; zeros without devices."""
    ordered: Sequence[int] = sorted(lengths)
    if not ordered:
        return (0, 0, 0)
    first, second, third = (ordered[(len(ordered) - 1) * k // 4] for k in (1, 2, 3))
    return first, second, third
