"""What a rule remembers of devices, by identity and within a bound: a vector each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from server.aggregators.base import State


def signed(identity: Sequence[tuple[int, int]]) -> Tensor:
    """(node, device) pairs as int64 [n, 2]: node numbers have 64 bits without a sign, which torch knows not.

    >>> signed([(2**64 - 1, 5)])
    tensor([[-1,  5]])
    """
    half = 1 << 63
    pairs = [((node + half) % (2 * half) - half, device) for node, device in identity]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)


def recalled(state: State, identity: Tensor, width: int) -> Tensor:
    """The histories of these identities [n, width], of the kind that is kept; 0 for those not met before."""
    if not state:
        return torch.zeros(len(identity), width)
    found = torch.zeros(len(identity), width, dtype=state["history"].dtype)
    rank = {pair: i for i, pair in enumerate(map(tuple, state["identity"].tolist()))}
    at = torch.tensor([rank.get(pair, -1) for pair in map(tuple, identity.tolist())], dtype=torch.int64)
    found[at >= 0] = state["history"][at[at >= 0]]
    return found


def remembered(state: State, identity: Tensor, history: Tensor, number: int, capacity: int) -> State:
    """The state with this round's histories last, and no more than ``capacity`` of them, longest seen first.

    identity int64 [m, 2], history [m, width] in any dtype, seen int64 [m] (the round it was last met in).
    """
    new = {"identity": identity, "history": history, "seen": torch.full((len(identity),), number)}
    new = {name: value[-capacity:].clone() for name, value in new.items()}
    if not state:
        return new
    here = set(map(tuple, identity.tolist()))
    others = torch.tensor(
        [pair not in here for pair in map(tuple, state["identity"].tolist())], dtype=torch.bool
    )
    room = capacity - len(new["identity"])
    kept = others.nonzero().flatten()
    kept = kept[max(0, len(kept) - room) :]
    return {name: torch.cat([state[name][kept], value]) for name, value in new.items()}
