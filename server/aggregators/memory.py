"""What a rule remembers of devices, by identity and within a bound: a vector each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.device import CPU
from server.aggregators.base import State


def signed(identity: Sequence[tuple[int, int]]) -> Tensor:
    """(node, device) pairs as int64 [n, 2]: node numbers have 64 bits without a sign, which torch knows not.

    >>> signed([(2**64 - 1, 5)])
    tensor([[-1,  5]])
    """
    half = 1 << 63
    pairs = [((node + half) % (2 * half) - half, device) for node, device in identity]
    return torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)


def recalled(state: State, identity: Tensor, width: int, device: torch.device = CPU) -> Tensor:
    """The histories of these identities [n, width], of the kind that is kept; 0 for those not met before.

    identity int64 [n, 2] lies on the CPU, histories on ``device``.
    """
    if not state:
        return torch.zeros(len(identity), width, device=device)
    history = state["history"].to(device)
    found = torch.zeros(len(identity), width, dtype=history.dtype, device=device)
    rank = {pair: i for i, pair in enumerate(map(tuple, state["identity"].tolist()))}
    at = torch.tensor([rank.get(pair, -1) for pair in map(tuple, identity.tolist())], dtype=torch.int64)
    known = (at >= 0).nonzero().flatten()
    found[known.to(device)] = history[at[known].to(device)]
    return found


def remembered(state: State, identity: Tensor, history: Tensor, number: int, capacity: int) -> State:
    """The state with this round's histories last, and no more than ``capacity`` of them, longest seen first.

    identity int64 [m, 2], history [m, width] in any dtype, seen int64 [m] (the round it was last met in).
    Histories may be on a GPU, who they are of is kept on the CPU.
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
    old = {name: state[name].to(value.device) for name, value in new.items()}
    return {name: torch.cat([old[name][kept.to(value.device)], value]) for name, value in new.items()}
