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
from server.aggregators.memory import Identity, entered, places, signed

MEMORY = 1 << 24
"""Bytes that the marks may take, one a device and item: devices seen longest ago are forgotten."""

TRAINED, PUSHED, PULLED = 1, 2, 3
"""What a device did to a row: moved it a little, strongly away from the users, strongly otherwise."""

PRIOR = 5.0
"""Devices without the item that every item starts with."""


@dataclass(frozen=True)
class RoundMarks:
    """What one round showed: marks int8 [n, K] of the devices ``identity`` [n] on ``items`` [K].

    ``newcomers`` bool [n]: whose node came late and has not been here for long; None: nobody's. ``alike``
    [n, n]: cosines of the devices' encoders (server/aggregators/base.py); None: nobody compared them.
    """

    round: int
    identity: Sequence[tuple[int, int]]
    items: Tensor
    marks: Tensor
    newcomers: Tensor | None = None
    alike: Tensor | None = None

    def established(self) -> RoundMarks:
        """Those of devices that are no newcomers."""
        if self.newcomers is None or not bool(self.newcomers.any()):
            return self
        first = (~self.newcomers.cpu()).nonzero().flatten()  # [m]
        alike = self.alike
        if alike is not None:
            some = first.to(alike.device)
            alike = alike[some[:, None], some]
        pairs = Identity(signed(self.identity)[first])
        return RoundMarks(self.round, pairs, self.items, self.marks[first.to(self.marks.device)], None, alike)


def no_holders(num_items: int, device: torch.device = CPU) -> State:
    """The panel before the first round."""
    none = torch.zeros(num_items, dtype=torch.float64, device=device)
    return {name: none.clone() for name in ("pulled", "trained")}


def with_round(panel: State, marks: RoundMarks) -> State:
    """The panel after a round.

    history int8 [M, N]: the strongest mark of each device on each item so far; pulled, trained float64 [N]:
    how many devices ever did so. Who is forgotten stays in the counts, and counts anew when it comes back.
    A round copies what is kept: ``MEMORY`` bytes at most, whatever the population.
    """
    marks = marks.established()
    identity, row_marks = signed(marks.identity), marks.marks  # [n, 2], [n, K]
    kept = {name: panel[name] for name in ("identity", "history", "seen") if name in panel}
    num_items = len(panel["pulled"])
    index = marks.items.long() - 1
    before = torch.zeros_like(row_marks)  # [n, K]
    where = row_marks.device
    history = kept.get("history", torch.zeros(0, num_items, dtype=torch.int8)).to(where)
    if kept:
        at, met = places(kept["identity"].cpu(), identity)
        before[met.to(where)] = history[at[met].to(where)[:, None], index]
    now = torch.maximum(before, row_marks)  # [n, K]
    room = entered(kept, identity, marks.round, max(1, MEMORY // num_items))
    known = room.rows(history)
    known[room.at[room.has].to(where)[:, None], index] = now[room.has.to(where)]
    pulled = ((now == PULLED) & (before < PULLED)).sum(0).double()  # [K]
    trained = ((now > 0) & (before == 0)).sum(0).double()  # [K]
    return {
        "identity": room.identity,
        "history": known,
        "seen": room.seen,
        "pulled": panel["pulled"].index_add(0, index, pulled),
        "trained": panel["trained"].index_add(0, index, trained),
    }


def holder_shares(panel: State) -> Tensor:
    """The share of the devices that ever trained row i which ever pulled it: float64 [N] in [0, 1).

    Who was forgotten and came back is another device here, on both sides of the ratio.
    """
    return panel["pulled"] / (panel["trained"] + PRIOR)


def one_holder(panel: State) -> Tensor:
    """The share that a single holder is: float64 [N] in (0, 1/PRIOR]."""
    return 1 / (panel["trained"] + PRIOR)


def at_most(panel: State, deviations: float = 2.0) -> Tensor:
    """What the share of holders may well be: the upper end of Wilson's interval, float64 [N] in (0, 1].

    An item that few devices ever trained may be held by many: who is seldom asked is given the benefit of the
    doubt. Reference: Wilson, JASA 22 (1927).
    """
    trained = panel["trained"] + PRIOR  # m [N]
    share, z = panel["pulled"] / trained, deviations
    centre = share + z**2 / (2 * trained)
    width = z * (share * (1 - share) / trained + (z / (2 * trained)) ** 2).sqrt()
    return (centre + width) / (1 + z**2 / trained)
