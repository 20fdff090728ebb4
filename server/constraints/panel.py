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
from server.aggregators.memory import entered, places, signed

MEMORY = 1 << 24
"""Bytes that the marks may take, one a device and item: devices seen longest ago are forgotten."""

TRAINED, PUSHED, PULLED = 1, 2, 3
"""What a device did to a row: moved it a little, strongly away from the users, strongly otherwise."""

PRIOR = 5.0
"""Devices without the item that every item starts with."""

PAIRS = 500.0
"""Pairs of holders whose encoders have nothing in common that every item starts with."""

FADES = 0.95
"""Weight of a round beside the next one that trains the item: twenty rounds count."""


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


def no_holders(num_items: int, device: torch.device = CPU) -> State:
    """The panel before the first round."""
    none = torch.zeros(num_items, dtype=torch.float64, device=device)
    return {name: none.clone() for name in ("pulled", "trained", "alike", "pairs")}


def with_round(panel: State, marks: RoundMarks) -> State:
    """The panel after a round.

    history int8 [M, N]: the strongest mark of each device on each item so far; pulled, trained float64 [N]:
    how many devices ever did so; alike, pairs float64 [N]: the sum of the cosines of all pairs of holders in
    a round, and how many there are, a round weighted by ``FADES`` beside the next. Who is forgotten stays in
    the counts, and counts anew when it comes back. A round takes n²·k products for the k items of two
    holders or more, and copies what is kept: ``MEMORY`` bytes at most, whatever the population.
    """
    identity, row_marks, cosines = signed(marks.identity), marks.marks, marks.alike  # [n, 2], [n, K]
    if marks.newcomers is not None:
        first = ~marks.newcomers.cpu()
        identity, row_marks = identity[first], row_marks[first.to(row_marks.device)]
        cosines = None if cosines is None else _among(cosines, first.nonzero().flatten())
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
    none = torch.zeros_like(panel["pulled"])  # the state of an earlier version knows no pairs
    alike, pairs = panel.get("alike", none), panel.get("pairs", none)  # [N] each
    if cosines is not None:
        count = (now == PULLED).sum(0).double()  # [K]
        several = count > 1  # most items of a sparse log have no pair  [K]
        holds = (now[:, several] == PULLED).to(cosines)  # [n, k]
        together = torch.zeros_like(count)  # [K]
        together[several] = ((cosines @ holds) * holds).sum(0).double()  # [n, n] @ [n, k] -> [k]
        alike = alike.index_copy(0, index, FADES * alike[index] + together)
        pairs = pairs.index_copy(0, index, FADES * pairs[index] + count * (count - 1))
    return {
        "alike": alike,
        "pairs": pairs,
        "identity": room.identity,
        "history": known,
        "seen": room.seen,
        "pulled": panel["pulled"].index_add(0, index, pulled),
        "trained": panel["trained"].index_add(0, index, trained),
    }


def _among(cosines: Tensor, some: Tensor) -> Tensor:
    """Those of the devices at ``some`` int64 [m]: [n, n] -> [m, m]."""
    some = some.to(cosines.device)
    return cosines[some[:, None], some]


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


def holders_alike(panel: State) -> Tensor:
    """G_i, the mean cosine of the encoders of two holders of item i that answer together: float64 [N].

    People who hold one item learn different things beyond what all learn; devices that carry one poison, and
    must hold the target to be allowed its exposure, do not. The mean over pairs and rounds shows what is too
    little to show in a single device (server/aggregators/reputation.py).
    """
    return panel["alike"] / (panel["pairs"] + PAIRS)
