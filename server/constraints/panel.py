"""Who holds what, by device: a count that pulling a row again and again does not raise.

The estimate of server/round/popularity.py counts pulls a round. A device with a long history shows an item in
some of its windows only, an attacker pulls its target whenever it is asked; here each device counts once,
for all the rounds it took part in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from common.device import CPU
from server.aggregators.base import State
from server.aggregators.memory import recalled, remembered, signed

MEMORY = 1 << 24
"""Bytes that the marks may take, one a device and item: devices seen longest ago are forgotten."""

TRAINED, PUSHED, PULLED = 1, 2, 3
"""What a device did to a row: moved it a little, strongly away from the users, strongly otherwise."""

PRIOR = 5.0
"""Devices without the item that every item starts with."""


@dataclass(frozen=True)
class RoundMarks:
    """What one round showed: marks int8 [n, K] of the devices ``identity`` [n] on ``items`` [K].

    ``newcomers``: those of ``identity`` whose node came late and has not been here for long.
    """

    round: int
    identity: Sequence[tuple[int, int]]
    items: Tensor
    marks: Tensor
    newcomers: frozenset[tuple[int, int]] = frozenset()


def no_holders(num_items: int, device: torch.device = CPU) -> State:
    """The panel before the first round."""
    none = torch.zeros(num_items, dtype=torch.float64, device=device)
    return {"pulled": none, "trained": none.clone()}


def with_round(panel: State, marks: RoundMarks) -> State:
    """The panel after a round.

    history int8 [M, N]: the strongest mark of each device on each item so far; pulled, trained float64 [N]:
    how many devices ever did so. Who is forgotten stays in the counts, and counts anew when it comes back.
    """
    first = [k for k, who in enumerate(marks.identity) if who not in marks.newcomers]
    identity = signed([marks.identity[k] for k in first])  # [n, 2]
    kept = {name: panel[name] for name in ("identity", "history", "seen") if name in panel}
    num_items = len(panel["pulled"])
    known = recalled(kept, identity, num_items, marks.marks.device).to(torch.int8)  # [n, N]
    index = marks.items.long() - 1
    before = known[:, index]  # [n, K]
    now = torch.maximum(before, marks.marks[first])  # [n, K]
    known[:, index] = now
    pulled = ((now == PULLED) & (before < PULLED)).sum(0).double()  # [K]
    trained = ((now > 0) & (before == 0)).sum(0).double()  # [K]
    return {
        **remembered(kept, identity, known, marks.round, max(1, MEMORY // num_items)),
        "pulled": panel["pulled"].index_add(0, index, pulled),
        "trained": panel["trained"].index_add(0, index, trained),
    }


def holder_shares(panel: State) -> Tensor:
    """The share of the devices that ever trained row i which ever pulled it: float64 [N] in [0, 1).

    Who was forgotten and came back is another device here, on both sides of the ratio.
    """
    return panel["pulled"] / (panel["trained"] + PRIOR)
