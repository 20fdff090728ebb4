"""Which devices there are: nodes enrol once, go silent, come back, and hold no more than their share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from flwr.app import Message, MessageType, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from common.errors import WireError
from common.sampling import Sample
from common.tasks import Enrolment
from common.wire import Reason, check_catalogue, decode_enrolment, encode_question
from common.wire.enrolment import Question
from common.wire.reasons import show
from server.nodes.claims import holders, only, within
from server.nodes.membership import Member, Membership
from server.nodes.notices import Notices
from server.nodes.pool import Pool
from server.nodes.refusals import OTHER_CATALOGUE, Refusals
from server.nodes.shares import allowance
from server.nodes.silence import Silence
from transport.exchange import exchange

_LOG = logging.getLogger(__name__)
ENROL_S = 30.0
MAX_DEVICES = 1 << 20
"""Devices that one enrolment may name: 12 MiB."""

MEMORY = 4 * MAX_DEVICES

STRANGERS = 1 << 12
"""Nodes that never took part and are gone, whose refusals and silences are remembered."""


@dataclass
class Roster:
    """Enrolled nodes and their devices.

    ``pool`` is made of the nodes and kept until they change: ``nodes`` is to be changed by the methods alone.

    quota: devices one node may stand for, 0: see :func:`allowance`. growth: rounds over which a node that
    comes late gains its full share. nodes: those that take part now; membership: what is known of all that
    ever enrolled.
    trusted: nodes of the operator. They enrol as all others do, in ``roots``, and take no part in draws,
    evaluations or counts; nobody can claim to be one, because node ids are the SuperLink's.
    catalogue: the fingerprint that all nodes must have; empty where the server does not know it.
    refusals: nodes that could not enrol.
    claims: what a node has in its log, where that is not what counts as its own.
    doubted: nodes that did not have what they came with; they are asked anew.
    notices: what had to be refused or cut, for the audit. silence: who missed deadlines, and rests.
    """

    quota: int = 0
    growth: int = 0
    nodes: dict[int, Enrolment] = field(default_factory=dict)
    trusted: frozenset[int] = frozenset()
    roots: dict[int, Enrolment] = field(default_factory=dict)
    membership: Membership = field(default_factory=Membership)
    clock: Callable[[], float] = time.monotonic
    catalogue: str = ""
    refusals: Refusals = field(default_factory=Refusals)
    claims: dict[int, Enrolment] = field(default_factory=dict)
    doubted: set[int] = field(default_factory=set)
    notices: Notices = field(default_factory=Notices)
    silence: Silence = field(default_factory=Silence)
    _pool: Pool | None = None

    @property
    def members(self) -> dict[int, Member]:
        """All that ever enrolled."""
        return self.membership.members

    def _changed(self) -> None:
        """Other nodes than before: what was made of them is void."""
        self._pool = None

    @property
    def pool(self) -> Pool:
        """The devices of those that take part."""
        if self._pool is None:
            joined = {node: m.joined for node, m in self.members.items() if node in self.nodes}
            self._pool = Pool(self.nodes, joined, self.quota, self.growth)
        return self._pool

    def refresh(self, grid: Grid, round_: int, wait_s: float = ENROL_S) -> None:
        """Ask nodes that are new, or rested enough, for their devices; forget those that left."""
        present, known = set(grid.get_node_ids()), self.nodes.keys() | self.roots.keys()
        for gone in known - present:
            self._drop(gone)
        again, self.doubted = self.doubted & known & present, set()
        fresh = [n for n in sorted((present - known) | again) if self._may_be_asked(n, round_)]
        if not fresh:
            return
        requests = [Message(self._question(n), n, MessageType.QUERY) for n in fresh]
        replies = exchange(grid, requests, wait_s)
        claims = {r.metadata.src_node_id: c for r in replies if (c := self._claim(r, round_)) is not None}
        self._enrol_all(claims, round_, present)
        for node in fresh:
            if node not in claims:
                self.rest(node, round_)
        self._forget(present)
        self.notices.cut(self.nodes, self.pool.allowance, round_)

    def _question(self, node: int) -> RecordDict:
        known = self.members.get(node)
        return encode_question(Question(self.catalogue, len(known.enrolment.devices) if known else 0))

    def _admit(self, node: int, enrolment: Enrolment, claim: Enrolment) -> None:
        self.nodes[node] = enrolment
        self.claims.pop(node, None)
        same = len(claim.devices) == len(enrolment.devices)  # the one is part of the other
        if not (same and torch.equal(claim.history, enrolment.history)):
            self.claims[node] = claim
        self._changed()

    def claim(self, node: int) -> Enrolment:
        """What a node that takes part has in its log: what it evaluates, though not all of it may count."""
        return self.claims.get(node, self.nodes[node])

    def doubt(self, node: int) -> None:
        """A node did not have what it came with: ask it anew before the next round or evaluation."""
        self.doubted.add(node)

    def _drop(self, node: int) -> None:
        self.claims.pop(node, None)
        if self.nodes.pop(node, None) is not None:
            self._changed()
        self.roots.pop(node, None)

    def _forget(self, present: set[int]) -> None:
        """Bounds what is known of nodes that are gone, as identities may be free.

        Kept are ``MEMORY`` devices, those of small nodes and the latest first, and of nodes that never took
        part the latest ``STRANGERS``.
        """
        room = MEMORY
        gone = [n for n in reversed(self.members) if n not in present]
        # Large claims go first: a few of them do not push out all others.
        for node in sorted(gone, key=lambda n: len(self.members[n].enrolment.devices)):
            room -= len(self.members[node].enrolment.devices)
            if room < 0:
                del self.members[node]
                self.silence.forget(node)
                self.notices.forget(node)
        known = present | self.members.keys()
        strangers = [n for n in dict.fromkeys([*self.silence.resting, *self.refusals]) if n not in known]
        for node in strangers[: max(0, len(strangers) - STRANGERS)]:
            self.refusals.forget(node)
            self.silence.forget(node)
            self.notices.forget(node)

    def _may_be_asked(self, node: int, round_: int) -> bool:
        now = self.clock()
        return self.silence.over(node, round_, now) and self.refusals.over(node, now)

    def _claim(self, reply: Message, round_: int) -> Enrolment | None:
        """What a node says of itself; None, once it is told why, where it cannot take part."""
        node = reply.metadata.src_node_id
        reason = None
        try:
            if not reply.has_error():
                claim = decode_enrolment(reply.content, MAX_DEVICES)
                check_catalogue(self.catalogue, claim.catalogue, "the node's")
                self.silence.back(node)
                self.refusals.forget(node)
                return claim
            text = f"did not enrol: {show(reply.error.reason, 300)}"
            reason = Reason.FOREIGN if OTHER_CATALOGUE in text else None  # the node has refused first
        except WireError as error:
            text, reason = f"did not enrol: {error}", Reason(error.reason)
        if self.refusals.note(node, text, self.clock()):
            if reason is None:
                _LOG.warning("node %d %s", node, text)
            else:
                self.notices.refuse(round_, node, reason, text)
        return None

    def _enrol_all(self, claims: Mapping[int, Enrolment], round_: int, present: set[int]) -> None:
        """Take in those that came together: the smaller claim first, at equal size the lower node id.

        So one that claims all numbers keeps out nobody, and loses what others claim.
        """
        order = sorted(claims, key=lambda node: (len(claims[node].devices), node))
        strangers = [n for n in order if n not in self.trusted and n not in self.members]
        parts = [claims[node].devices for node in strangers]
        held = {node: m.enrolment.devices for node, m in self.members.items() if node in present}
        sizes = [len(devices) for devices in held.values()]
        # Each so many as it may stand for: one that claims all numbers would keep out all who come later
        most = self.quota or allowance(sizes)
        owned = [devices[:most] for devices in held.values()]
        most = self.quota or allowance([*sizes, *map(len, parts)])
        before = dict(zip(strangers, holders(owned, parts, most), strict=True))
        owners = [*held, *strangers]
        for node in order:
            self._enrol(node, claims[node], round_, before.get(node), owners)

    def _enrol(
        self, node: int, claim: Enrolment, round_: int, before: Tensor | None, owners: Sequence[int]
    ) -> None:
        """``before``: the place in ``owners`` of who has each device of a new node, int64 [m], −1: nobody.

        None for a node that is known.
        """
        if node in self.trusted:
            self.roots[node] = claim
            return
        whole = claim
        if before is not None:
            taken = before >= 0  # [m]
            if bool(taken.any()):
                first, other = int(claim.devices[taken][0]), owners[int(before[taken][0])]
                text = f"claims {int(taken.sum())} devices of other nodes, such as {first} of node {other}"
                self.notices.refuse(round_, node, Reason.DUPLICATE, text)
                claim = only(claim, ~taken)
            self._admit(node, claim, whole)
            self.members[node] = Member(claim, round_)
            return
        known = self.members[node]
        self.notices.lost(node, known.enrolment.devices, claim.devices, round_)
        strange = ~within(claim.devices, known.enrolment.devices)
        if bool(strange.any()):
            text = f"claims {int(strange.sum())} devices that it did not come with"
            self.notices.refuse(round_, node, Reason.UNKNOWN_DEVICE, text)
        self._admit(node, only(known.enrolment, within(known.enrolment.devices, claim.devices)), claim)

    def rest(self, node: int, round_: int) -> None:
        """Leave a silent node out for a while."""
        self._drop(node)
        self.silence.missed(node, round_, self.clock())

    def heard(self, nodes: Iterable[int], silent: Iterable[int], round_: int) -> None:
        """A round is over: ``nodes`` answered in time, the ``silent`` ones rest."""
        for node in silent:
            self.rest(node, round_)
        self.silence.answered(nodes)

    def wake(self) -> None:
        """While the run waits for nodes, everybody may come at any time."""
        self.silence.clear()

    def quartiles(self) -> tuple[int, int, int]:
        """Bounds of the quartiles of history length, over all devices that there were when first asked."""
        if not self.nodes and self.membership.bounds is None:
            return (0, 0, 0)
        return self.membership.quartiles(self.pool.histories)

    def evaluated(self, count: int, salt: str) -> Sample | None:
        """The part that evaluates, of ``count`` of the devices when first asked; None where that is all."""
        if not count or not (self.nodes or self.membership.sampled):
            return None
        return self.membership.sample(count, salt, self._numbers)

    def counted(self) -> list[Tensor]:
        """Numbers of the devices that each node that takes part may stand for, int64 [m] each."""
        most = self.pool.allowance
        return [enrolment.devices[:most] for enrolment in self.nodes.values()]

    def _numbers(self) -> Tensor:
        return torch.cat(self.counted())
