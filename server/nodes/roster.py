"""Which devices there are: nodes enrol once, go silent, come back, and hold no more than their share."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from flwr.app import Message, MessageType
from flwr.serverapp import Grid
from torch import Tensor

from common.errors import CheckpointError, WireError
from common.sampling import Sample
from common.tasks import Enrolment
from common.wire import Reason, check_catalogue, decode_enrolment, encode_catalogue
from common.wire.reasons import show
from server.aggregators.memory import signed
from server.nodes.shares import allowance, quartiles
from server.round.drawing import draw_places
from server.round.verdicts import AuditEntry
from transport.exchange import exchange

_LOG = logging.getLogger(__name__)
ENROL_S = 30.0
MAX_DEVICES = 1 << 20
"""Devices that one enrolment may name: 12 MiB."""

MEMORY = 4 * MAX_DEVICES

RETRY_ROUNDS = 5
"""Rounds until a node that missed a deadline is asked again; each further miss doubles them."""

REST_S = 3600.0
"""However many rounds it has to rest: after an hour it is asked again."""

REFUSED_S = 10.0
"""A node with another catalogue is asked again after this: its owner may have mended it."""

OTHER_CATALOGUE = f"catalogue: {Reason.FOREIGN.value}"
"""How the refusal begins, whichever side refuses."""

FORGIVEN = 10
"""Rounds answered in time that make up for one miss."""


@dataclass(frozen=True)
class Member:
    """What a node came with, which is what it has for the rest of the run; ``joined``: after that round."""

    enrolment: Enrolment
    joined: int


Pool = tuple[Tensor, Tensor, list[int]]
"""Numbers of devices int64 [n], the place of the node of each int64 [n], and the node ids."""


@dataclass
class Roster:
    """Enrolled nodes and their devices.

    What follows from all devices (their order, counts) is made when the nodes change and kept: a round costs
    what is asked in it. Hence ``nodes`` is to be changed by the methods alone.

    quota: devices one node may stand for, 0: see :func:`allowance`. growth: rounds over which a node that
    comes late gains its full share. nodes: those that take part now; members: all that ever enrolled.
    bounds: the quartiles of history length when they were first asked for; nodes keep to those too.
    sampled: the size of the first sample that evaluated, and its ``below``; nodes keep to that one, too.
    trusted: nodes of the operator. They enrol as all others do, in ``roots``, and take no part in draws,
    evaluations or counts; nobody can claim to be one, because node ids are the SuperLink's.
    catalogue: the fingerprint that all nodes must have; empty where the server does not know it.
    refused: nodes that could not enrol, why, and when by ``clock`` they may be asked again.
    """

    quota: int = 0
    growth: int = 0
    nodes: dict[int, Enrolment] = field(default_factory=dict)
    trusted: frozenset[int] = frozenset()
    roots: dict[int, Enrolment] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    resting: dict[int, tuple[int, float]] = field(default_factory=dict)
    misses: dict[int, float] = field(default_factory=dict)
    bounds: tuple[int, int, int] | None = None
    sampled: tuple[int, int] | None = None
    clock: Callable[[], float] = time.monotonic
    catalogue: str = ""
    refused: dict[int, tuple[str, float]] = field(default_factory=dict)
    _news: list[AuditEntry] = field(default_factory=list)
    _cut: dict[int, int] = field(default_factory=dict)
    _allowance: int | None = None
    _order: tuple[Tensor, Tensor, Tensor, list[int]] | None = None
    _next_items: tuple[int, Tensor] | None = None
    _pool: tuple[int, bool, Pool] | None = None

    def _changed(self) -> None:
        """Other nodes than before: what was made of them is void."""
        self._allowance = self._order = self._pool = self._next_items = None

    def refresh(self, grid: Grid, round_: int, wait_s: float = ENROL_S) -> None:
        """Ask nodes that are new, or rested enough, for their devices; forget those that left."""
        present, known = set(grid.get_node_ids()), self.nodes.keys() | self.roots.keys()
        for gone in known - present:
            self._drop(gone)
        fresh = [n for n in sorted(present - known) if self._rested(n, round_)]
        if not fresh:
            return
        question = encode_catalogue(self.catalogue)
        requests = [Message(question, dst_node_id=n, message_type=MessageType.QUERY) for n in fresh]
        replies = exchange(grid, requests, wait_s)
        claims = {r.metadata.src_node_id: c for r in replies if (c := self._claim(r, round_)) is not None}
        self._enrol_all(claims, round_, present)
        for node in fresh:
            if node not in self.nodes and node not in self.roots:
                self.rest(node, round_)
        self._forget(present)
        self._tell_cuts(round_)

    def _admit(self, node: int, enrolment: Enrolment) -> None:
        self.nodes[node] = enrolment
        self._changed()

    def _drop(self, node: int) -> None:
        if self.nodes.pop(node, None) is not None:
            self._changed()
        self.roots.pop(node, None)

    def _forget(self, present: set[int]) -> None:
        """Of nodes that are gone the latest ``MEMORY`` devices are remembered: identities may be free."""
        room = MEMORY
        for node in [n for n in reversed(self.members) if n not in present]:
            room -= len(self.members[node].enrolment.devices)
            if room < 0:
                del self.members[node]
                self.misses.pop(node, None)
                self.resting.pop(node, None)
                self._cut.pop(node, None)

    def _rested(self, node: int, round_: int) -> bool:
        until, at = self.resting.get(node, (round_, math.inf))
        _, again = self.refused.get(node, ("", -math.inf))
        return (until <= round_ or self.clock() >= at) and self.clock() >= again

    def _owned(self, present: set[int]) -> Tensor:
        """Numbers int64 [m], ascending, of the devices of nodes that are here: nobody else may claim them.

        Of each so many as it may stand for, or one that claims all numbers would keep out all who come later.
        """
        held = [m.enrolment.devices for node, m in self.members.items() if node in present]
        most = self.quota or allowance([len(devices) for devices in held])
        none = torch.zeros(0, dtype=torch.int64)
        return torch.cat([devices[:most] for devices in held] or [none]).sort().values

    def _claim(self, reply: Message, round_: int) -> Enrolment | None:
        """What a node says of itself; None, once it is told why, where it cannot take part."""
        node = reply.metadata.src_node_id
        before, _ = self.refused.pop(node, ("", 0.0))
        reason = None
        try:
            if not reply.has_error():
                claim = decode_enrolment(reply.content, MAX_DEVICES)
                check_catalogue(self.catalogue, claim.catalogue, "the node's")
                self.resting.pop(node, None)
                return claim
            text = f"did not enrol: {show(reply.error.reason, 300)}"
        except WireError as error:
            text, reason = f"did not enrol: {error}", Reason(error.reason)
        pause = REFUSED_S if OTHER_CATALOGUE in text else 0.0
        self.refused[node] = text, self.clock() + pause
        if text == before:
            return None
        if reason is None:
            _LOG.warning("node %d %s", node, text)
        else:
            self._refuse(round_, node, reason, text)
        return None

    def refusals(self) -> str:
        """The end of an error: who could not enrol, and why."""
        if not self.refused:
            return ""
        node, (text, _) = min(self.refused.items())
        more = f", and {len(self.refused) - 1} more" if len(self.refused) > 1 else ""
        return f"; node {node} {text}{more}"

    def _enrol_all(self, claims: Mapping[int, Enrolment], round_: int, present: set[int]) -> None:
        """Take in those that came together: the smaller claim first, at equal size the lower node id.

        So one that claims all numbers keeps out nobody, and loses what others claim.
        """
        order = sorted(claims, key=lambda node: (len(claims[node].devices), node))
        strangers = [n for n in order if n not in self.trusted and n not in self.members]
        parts = [claims[node].devices for node in strangers]
        held = [m.enrolment.devices for node, m in self.members.items() if node in present]
        most = self.quota or allowance([*map(len, held), *map(len, parts)])
        taken = dict(zip(strangers, claimed_before(parts, self._owned(present), most), strict=True))
        for node in order:
            self._enrol(node, claims[node], round_, taken.get(node))

    def _enrol(self, node: int, claim: Enrolment, round_: int, taken: Tensor | None) -> None:
        """``taken``: which devices of a new node another has, bool [m]; None for one that is known."""
        if node in self.trusted:
            self.roots[node] = claim
            return
        if taken is not None:
            if bool(taken.any()):
                first = int(claim.devices[taken][0])
                other = self._holder(first)
                text = f"claims {int(taken.sum())} devices of other nodes, such as {first} of node {other}"
                self._refuse(round_, node, Reason.DUPLICATE, text)
                claim = _only(claim, ~taken)
            self._admit(node, claim)
            self.members[node] = Member(claim, round_)
            return
        known = self.members[node]
        strange = ~within(claim.devices, known.enrolment.devices)
        if bool(strange.any()):
            text = f"claims {int(strange.sum())} devices that it did not come with"
            self._refuse(round_, node, Reason.UNKNOWN_DEVICE, text)
        self._admit(node, _only(known.enrolment, within(known.enrolment.devices, claim.devices)))

    def _holder(self, device: int) -> int:
        """The node that has ``device``."""
        number = torch.tensor([device])
        return next(n for n, m in self.members.items() if bool(within(number, m.enrolment.devices)))

    def _refuse(self, round_: int, node: int, reason: Reason, detail: str) -> None:
        _LOG.warning("node %d %s", node, detail)
        self._news.append(AuditEntry(max(round_, 1), node, None, "refused", reason.value, detail))

    def _tell_cuts(self, round_: int) -> None:
        """Say once, and again when it changes, whose devices are more than one node may stand for."""
        most = self.allowance()
        for node, enrolment in self.nodes.items():
            claimed = len(enrolment.devices)
            counted = min(claimed, most)
            if counted < claimed and self._cut.get(node) != counted:
                text = f"claims {claimed} devices, cut to {counted} (strategy.quota)"
                self._refuse(round_, node, Reason.QUOTA, text)
            self._cut[node] = counted

    def news(self) -> list[AuditEntry]:
        """What enrolments had to be refused or cut since the last call."""
        found, self._news = self._news, []
        return found

    def allowance(self) -> int:
        """Devices that one node may stand for."""
        if self._allowance is None:
            self._allowance = self.quota or allowance([len(e.devices) for e in self.nodes.values()])
        return self._allowance

    def newcomers(self, identity: Sequence[tuple[int, int]], round_: int) -> Tensor:
        """Whose node came late and has not gained its full share yet: bool [n] of (node, device) pairs."""
        pairs = signed(identity)  # [n, 2]
        if self._pool is not None and self._holds(round_) and self._pool[1]:
            return torch.zeros(len(pairs), dtype=torch.bool)  # nobody grows any more
        late = [(node, 0) for node, gained in self.gained(round_).items() if gained < 1]
        return torch.isin(pairs[:, 0], signed(late)[:, 0])

    def gained(self, round_: int) -> dict[int, float]:
        """The part of its share that each node has: (rounds here)/growth, 1 for those who were here first.

        A node that leaves and comes back under another identity gains nothing by it. First are the oldest
        of those that take part: after an outage that makes all identities new, nobody has to wait.
        """
        joined = {node: self.members[node].joined for node in self.nodes}
        first = min(joined.values(), default=0)
        if not self.growth:
            return dict.fromkeys(joined, 1.0)
        return {n: 1.0 if j == first else min(1.0, (round_ - j) / self.growth) for n, j in joined.items()}

    def rest(self, node: int, round_: int) -> None:
        """Leave a silent node out: the longer the more often it was silent, and an hour at most."""
        self._drop(node)
        self.misses[node] = self.misses.get(node, 0.0) + 1
        pause = RETRY_ROUNDS * 2 ** min(30, math.ceil(self.misses[node]) - 1)
        self.resting[node] = (round_ + pause, self.clock() + REST_S)

    def answered(self, nodes: Iterable[int]) -> None:
        """These nodes were in time: an old miss counts for less."""
        for node in nodes:
            if node in self.misses:
                self.misses[node] = max(0.0, self.misses[node] - 1 / FORGIVEN)

    def pool(self, round_: int) -> Pool:
        """Devices that may be drawn: numbers [n] ascending, place of the node of each [n], and the node ids.

        At equal numbers the lower node id comes first. Of a node with too many those with the lowest numbers.
        """
        if self._pool is None or not self._holds(round_):
            self._pool = (round_, *self._grown(round_))
        return self._pool[2]

    def _holds(self, round_: int) -> bool:
        """Whether the pool that was made is that of ``round_``: once nobody grows it stays the same."""
        assert self._pool is not None
        at, final, _ = self._pool
        return round_ == at or (final and round_ > at)

    def _grown(self, round_: int) -> tuple[bool, Pool]:
        """Whether all have their full share, and the pool."""
        numbers, place, rank, nodes = self._ordered()
        gained = self.gained(round_)
        if all(part == 1 for part in gained.values()):
            return True, (numbers, place, nodes)
        most = self.allowance()
        room = [math.ceil(gained[n] * min(most, len(self.nodes[n].devices))) for n in nodes]
        kept = rank < torch.tensor(room)[place]  # [n]
        return False, (numbers[kept], place[kept], nodes)

    def _ordered(self) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Numbers [n] ascending, place of the node of each, which of its node's it is, and the node ids."""
        if self._order is None:
            most, nodes = self.allowance(), sorted(self.nodes)
            held = [self.nodes[node].devices[:most] for node in nodes]
            sizes = torch.tensor([len(h) for h in held], dtype=torch.int64)
            numbers = torch.cat([torch.zeros(0, dtype=torch.int64), *held])
            place = torch.repeat_interleave(torch.arange(len(nodes)), sizes)
            rank = torch.arange(len(numbers)) - (sizes.cumsum(0) - sizes)[place]
            order = numbers.argsort(stable=True)
            self._order = (numbers[order], place[order], rank[order], nodes)
        return self._order

    @property
    def count(self) -> int:
        """Devices of all nodes that take part, each cut to what it may stand for."""
        return len(self._ordered()[0])

    def next_items(self, most: int) -> Tensor:
        """How many devices came with 1, 2, … ``most`` next items or more, int64 [≤ most]: their claims."""
        if self._next_items is None or self._next_items[0] != most:
            room = self.allowance()
            held = [e.history[:room] for e in self.nodes.values()]
            length = torch.cat([torch.zeros(0, dtype=torch.int32), *held])
            count = torch.bincount((length - 1).clamp(0, most), minlength=2)[1:]
            self._next_items = (most, count)
        return self._next_items[1]

    def sample(self, count: int, generator: torch.Generator, round_: int) -> dict[int, Tensor]:
        """``count`` devices, each with the same chance: node -> device numbers int64 [m], ascending."""
        numbers, place, nodes = self.pool(round_)
        chosen = draw_places(count, len(numbers), generator)
        by_node = chosen[place[chosen].argsort(stable=True)]
        which, sizes = torch.unique_consecutive(place[by_node], return_counts=True)
        parts = torch.split(numbers[by_node], sizes.tolist())
        return {nodes[k]: part for k, part in zip(which.tolist(), parts, strict=True)}

    def quartiles(self) -> tuple[int, int, int]:
        """Bounds of the quartiles of history length, over all devices that there were when first asked."""
        if self.bounds is None and self.nodes:
            most = self.allowance()
            self.bounds = quartiles(torch.cat([e.history[:most] for e in self.nodes.values()]))
        return self.bounds or (0, 0, 0)

    def evaluated(self, count: int, salt: str) -> Sample | None:
        """The part that evaluates, of ``count`` of the devices when first asked; None where that is all."""
        if self.sampled is None and count and self.nodes:
            numbers = torch.cat([enrolment.devices for enrolment in self.nodes.values()])
            self.sampled = count, Sample.of(salt, numbers, count).below
        return Sample(salt, self.sampled[1]) if count and self.sampled else None

    def check_sample(self, count: int) -> None:
        """Raises CheckpointError for another sample than the one that the nodes of the run keep to."""
        if self.sampled is not None and count not in (0, self.sampled[0]):
            raise CheckpointError(
                f"eval.sample was {self.sampled[0]}, given {count}; the nodes of this run keep to the first "
                f"sample: valid are 0 and {self.sampled[0]}"
            )

    def tensors(self) -> dict[str, Tensor]:
        """Who came when and with what, for a checkpoint."""
        members = sorted(self.members.items())
        enrolments = [m.enrolment for _, m in members]
        none = [torch.zeros(0, dtype=torch.int64)]
        return {
            "bounds": torch.tensor(self.bounds or (), dtype=torch.int64),
            "sampled": torch.tensor(self.sampled or (), dtype=torch.int64),
            "node": signed([(node, 0) for node, _ in members])[:, 0],
            "joined": torch.tensor([m.joined for _, m in members], dtype=torch.int64),
            "count": torch.tensor([len(e.devices) for e in enrolments], dtype=torch.int64),
            "device": torch.cat([e.devices for e in enrolments] or none),
            "history": torch.cat([e.history.long() for e in enrolments] or none),
        }

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`tensors` kept."""
        if not saved:
            return
        self.bounds = tuple(saved["bounds"].tolist()) or None
        self.sampled = tuple(saved["sampled"].tolist()) or None
        counts = saved["count"].tolist()
        devices = torch.split(saved["device"], counts)
        histories = torch.split(saved["history"].int(), counts)
        whole = zip(saved["node"].tolist(), saved["joined"].tolist(), devices, histories, strict=True)
        for node, joined, numbers, history in whole:
            self.members[node % (1 << 64)] = Member(Enrolment(numbers, history), joined)


def within(values: Tensor, ordered: Tensor) -> Tensor:
    """Which of ``values`` [m] are among ``ordered`` [n], which ascend: bool [m]. O(m·log n)."""
    if not len(ordered):
        return torch.zeros_like(values, dtype=torch.bool)
    place = torch.searchsorted(ordered, values).clamp_(max=len(ordered) - 1)
    return ordered[place] == values


def claimed_before(claims: Sequence[Tensor], owned: Tensor, most: int) -> list[Tensor]:
    """Which numbers of each claim int64 [m], ascending, are in ``owned`` or an earlier claim: bool [m] each.

    Of a claim the first ``most`` numbers count against later ones. O(n·log n) for n numbers in all.
    """
    if not claims:
        return []
    sizes = torch.tensor([len(claim) for claim in claims])
    numbers = torch.cat(list(claims))  # [n]
    rank = torch.arange(len(numbers)) - torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    order = numbers.argsort(stable=True)  # equal numbers stay in the order of the claims
    counts = (rank[order] < most).long()  # [n]
    before = counts.cumsum(0) - counts  # those that count, of lower numbers and earlier claims
    _, run = torch.unique_consecutive(numbers[order], return_inverse=True)
    start = torch.full((int(run.max()) + 1 if len(run) else 0,), len(numbers)).scatter_reduce(
        0, run, before, "amin"
    )
    taken = torch.empty(len(numbers), dtype=torch.bool)
    taken[order] = before > start[run]
    return list(torch.split(taken | within(numbers, owned), sizes.tolist()))


def _only(enrolment: Enrolment, kept: Tensor) -> Enrolment:
    """The devices ``kept`` bool [m]; all of them are the enrolment itself."""
    if bool(kept.all()):
        return enrolment
    return Enrolment(enrolment.devices[kept], enrolment.history[kept])
