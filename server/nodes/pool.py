"""The devices of the nodes that take part: their order and counts, and those that may be drawn in a round."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from common.tasks import Enrolment
from server.aggregators.memory import signed
from server.nodes.shares import allowance
from server.round.drawing import draw_places

Drawable = tuple[Tensor, Tensor, list[int]]
"""Numbers of devices int64 [n], the place of the node of each int64 [n], and the node ids."""


class Pool:
    """What follows from all devices is made once, so that a round costs what is asked in it.

    nodes: those that take part, with their devices; joined: the round after which each came. quota: devices
    one node may stand for, 0: see :func:`~server.nodes.shares.allowance`. growth: rounds over which a node
    that comes late gains its full share.
    """

    def __init__(
        self, nodes: Mapping[int, Enrolment], joined: Mapping[int, int], quota: int, growth: int
    ) -> None:
        self._nodes, self._joined, self._quota, self._growth = dict(nodes), joined, quota, growth
        self._next_items: tuple[int, Tensor] | None = None
        self._drawable: tuple[int, bool, Drawable] | None = None

    @cached_property
    def allowance(self) -> int:
        """Devices that one node may stand for."""
        return self._quota or allowance([len(e.devices) for e in self._nodes.values()])

    @property
    def count(self) -> int:
        """Devices of all nodes that take part, each cut to what it may stand for."""
        return len(self._ordered[0])

    def histories(self) -> Tensor:
        """How long the histories are of the devices that count, int32 [n]."""
        none = torch.zeros(0, dtype=torch.int32)
        return torch.cat([none, *(e.history[: self.allowance] for e in self._nodes.values())])

    def next_items(self, most: int) -> Tensor:
        """How many devices came with 1, 2, … ``most`` next items or more, int64 [≤ most]: their claims."""
        if self._next_items is None or self._next_items[0] != most:
            count = torch.bincount((self.histories() - 1).clamp(0, most), minlength=2)[1:]
            self._next_items = (most, count)
        return self._next_items[1]

    def gained(self, round_: int) -> dict[int, float]:
        """The part of its share that each node has: (rounds here)/growth, 1 for those who were here first.

        A node that leaves and comes back under another identity gains nothing by it. First are the oldest
        of those that take part: after an outage that makes all identities new, nobody has to wait.
        """
        joined = {node: self._joined[node] for node in self._nodes}
        first = min(joined.values(), default=0)
        if not self._growth:
            return dict.fromkeys(joined, 1.0)
        return {n: 1.0 if j == first else min(1.0, (round_ - j) / self._growth) for n, j in joined.items()}

    def newcomers(self, identity: Sequence[tuple[int, int]], round_: int) -> Tensor:
        """Whose node came late and has not gained its full share yet: bool [n] of (node, device) pairs."""
        pairs = signed(identity)  # [n, 2]
        if self._drawable is not None and self._holds(round_) and self._drawable[1]:
            return torch.zeros(len(pairs), dtype=torch.bool)  # nobody grows any more
        late = [(node, 0) for node, gained in self.gained(round_).items() if gained < 1]
        return torch.isin(pairs[:, 0], signed(late)[:, 0])

    def drawable(self, round_: int) -> Drawable:
        """Devices that may be drawn: numbers [n] ascending, place of the node of each [n], and the node ids.

        At equal numbers the lower node id comes first. Of a node with too many those with the lowest numbers.
        """
        if self._drawable is None or not self._holds(round_):
            self._drawable = (round_, *self._grown(round_))
        return self._drawable[2]

    def sample(self, count: int, generator: torch.Generator, round_: int) -> dict[int, Tensor]:
        """``count`` devices, each with the same chance: node -> device numbers int64 [m], ascending."""
        numbers, place, nodes = self.drawable(round_)
        chosen = draw_places(count, len(numbers), generator)
        by_node = chosen[place[chosen].argsort(stable=True)]
        which, sizes = torch.unique_consecutive(place[by_node], return_counts=True)
        parts = torch.split(numbers[by_node], sizes.tolist())
        return {nodes[k]: part for k, part in zip(which.tolist(), parts, strict=True)}

    def _holds(self, round_: int) -> bool:
        """Whether what was made is that of ``round_``: once nobody grows it stays the same."""
        assert self._drawable is not None
        at, final, _ = self._drawable
        return round_ == at or (final and round_ > at)

    def _grown(self, round_: int) -> tuple[bool, Drawable]:
        """Whether all have their full share, and what may be drawn."""
        numbers, place, rank, nodes = self._ordered
        gained = self.gained(round_)
        if all(part == 1 for part in gained.values()):
            return True, (numbers, place, nodes)
        room = [math.ceil(gained[n] * min(self.allowance, len(self._nodes[n].devices))) for n in nodes]
        kept = rank < torch.tensor(room)[place]  # [n]
        return False, (numbers[kept], place[kept], nodes)

    @cached_property
    def _ordered(self) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Numbers [n] ascending, place of the node of each, which of its node's it is, and the node ids."""
        nodes = sorted(self._nodes)
        held = [self._nodes[node].devices[: self.allowance] for node in nodes]
        sizes = torch.tensor([len(h) for h in held], dtype=torch.int64)
        numbers = torch.cat([torch.zeros(0, dtype=torch.int64), *held])
        place = torch.repeat_interleave(torch.arange(len(nodes)), sizes)
        rank = torch.arange(len(numbers)) - (sizes.cumsum(0) - sizes)[place]
        order = numbers.argsort(stable=True)
        return numbers[order], place[order], rank[order], nodes
