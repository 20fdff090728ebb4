"""What a rule remembers of devices, by identity and within a bound: a vector each.

The rows of a state are ordered by identity, so that n devices are looked up among M in O(n·log M).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from torch import Tensor

from common.device import CPU
from common.errors import CheckpointError
from server.aggregators.base import State


class Identity(Sequence[tuple[int, int]]):
    """Who n devices are: ``pairs`` int64 [n, 2], node (see :func:`signed`) and the node's device number.

    As a Sequence it holds (node, device) pairs of Python numbers, and is equal to a tuple of the same.
    """

    def __init__(self, pairs: Tensor) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> Identity: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | Identity:
        if isinstance(index, slice):
            return Identity(self.pairs[index])
        node, device = self.pairs[index].tolist()
        return node % WRAP, device

    def __iter__(self) -> Iterator[tuple[int, int]]:
        nodes, devices = self.pairs.T.tolist() if len(self) else ([], [])
        return ((node % WRAP, device) for node, device in zip(nodes, devices, strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def take(self, index: Tensor) -> Identity:
        """Those at ``index`` (int64 [m] or bool [n])."""
        return Identity(self.pairs[index.to(self.pairs.device)])


WRAP = 1 << 64
"""Node numbers have 64 bits without a sign, which torch knows not."""


def signed(identity: Sequence[tuple[int, int]]) -> Tensor:
    """(node, device) pairs as int64 [n, 2]; nodes from 2^63 on are negative.

    >>> signed([(2**64 - 1, 5)])
    tensor([[-1,  5]])
    """
    if isinstance(identity, Identity):
        return identity.pairs
    half = WRAP // 2
    pairs = [((node + half) % WRAP - half, device) for node, device in identity]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)


def recalled(state: State, identity: Tensor, width: int, device: torch.device = CPU) -> Tensor:
    """The histories of these identities [n, width], of the kind that is kept; 0 for those not met before.

    identity int64 [n, 2] lies on the CPU, histories on ``device``. Raises CheckpointError for another width.
    """
    if not state:
        return torch.zeros(len(identity), width, device=device)
    at, met = places(state["identity"].cpu(), identity)
    history = state["history"].to(device)
    if history.shape[1] != width:
        differs = f"{history.shape[1]} values a device where this version keeps {width}"
        raise CheckpointError(f"the saved state of the rule has {differs}: it is an earlier version's")
    found = torch.zeros(len(identity), width, dtype=history.dtype, device=device)
    found[met.to(device)] = history[at[met].to(device)]
    return found


def remembered(state: State, identity: Tensor, history: Tensor, number: int, capacity: int) -> State:
    """The state with this round's histories, and no more than ``capacity`` of them: see :func:`entered`.

    identity int64 [m, 2], history [m, width] in any dtype, seen int64 [m] (the round last met in).
    """
    entry = entered(state, identity, number, capacity)
    kept = entry.rows(state.get("history", history[:0]))
    kept[entry.at[entry.has].to(kept.device)] = history[entry.has.to(history.device)]
    return {"identity": entry.identity, "history": kept, "seen": entry.seen}


@dataclass(frozen=True)
class NextRows:
    """The rows of the next state: identity [m, 2] and seen [m], and where they come from.

    source  int64 [m]: the row of the state before, -1 for one that is new; None where all rows stay
    at      int64 [n]: the row of each device of this round, of no meaning without ``has`` bool [n]
    """

    identity: Tensor
    seen: Tensor
    source: Tensor | None
    at: Tensor
    has: Tensor

    def rows(self, before: Tensor) -> Tensor:
        """A copy of what was kept by row [M, …], with zeros for those that are new: [m, …]."""
        if self.source is None:
            return before.clone()
        if not len(before):
            return before.new_zeros(len(self.source), *before.shape[1:])
        source = self.source.clamp(min=0)
        if before.device.type == "cpu":  # numpy takes a fifth of torch's time, that of a plain copy
            rows = torch.from_numpy(np.take(before.numpy(), source.numpy(), axis=0))
        else:
            rows = before[source.to(before.device)]
        return rows.index_fill_(0, (self.source < 0).nonzero().flatten().to(rows.device), 0)


def entered(state: State, identity: Tensor, number: int, capacity: int) -> NextRows:
    """Make room for the devices of round ``number``: those seen longest ago go, of equals the lowest.

    identity int64 [n, 2]. Costs O(n·log M) and a few passes over the M ≤ ``capacity`` rows.
    """
    before = state["identity"].cpu() if state else identity[:0]
    at, met = places(before, identity)
    seen = state["seen"].cpu().clone() if state else at[:0].clone()
    seen[at[met]] = number
    if bool(met.all()) and len(before) <= capacity:
        return NextRows(before, seen, None, at, met)
    fresh = identity[~met]
    fresh = fresh[ordered(fresh)]
    slot = places(before, fresh)[0] + torch.arange(len(fresh))  # where the new rows stand among all
    source = torch.full((len(before) + len(fresh),), -1)
    old = torch.ones_like(source, dtype=torch.bool)
    old[slot] = False
    source[old] = torch.arange(len(before))
    who, when = source.new_empty(len(source), 2), torch.full_like(source, number)
    who[old], who[slot], when[old] = before, fresh, seen
    if (excess := len(who) - capacity) > 0:
        last = when.kthvalue(excess).values
        ties = (when == last).nonzero().flatten()
        keep = when > last
        keep[ties[excess - int((when < last).sum()) :]] = True
        who, when, source = who[keep], when[keep], source[keep]
    at, has = places(who, identity)
    return NextRows(who, when, source, at, has)


def ordered(identity: Tensor) -> Tensor:
    """The order of [n, 2] by node, then device: int64 [n]."""
    by_device = identity[:, 1].argsort(stable=True)
    return by_device[identity[by_device, 0].argsort(stable=True)]


def places(known: Tensor, identity: Tensor) -> tuple[Tensor, Tensor]:
    """Where [n, 2] stand, or would, in ``known`` [M, 2], which is in order: int64 [n]; bool [n]: do they?

    All are looked up at once, each step halving what is left of ``known``.
    """
    low = torch.zeros(len(identity), dtype=torch.int64)
    if not len(known):
        return low, low.bool()
    node, device = identity.T
    high, last = torch.full_like(low, len(known)), len(known) - 1
    for _ in range(len(known).bit_length()):
        middle = (low + high) // 2
        one, other = known[middle.clamp(max=last)].T
        less = (middle < high) & ((one < node) | ((one == node) & (other < device)))
        low, high = torch.where(less, middle + 1, low), torch.where(less, high, middle)
    return low, (known[low.clamp(max=last)] == identity).all(dim=1)
