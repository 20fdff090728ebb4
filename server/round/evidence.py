"""What constraints may know of a round beside the model, gathered from the devices that the rule trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from common.config import RunConfig
from common.probes import Audience, last_states, made_up
from common.seeding import generator
from common.tasks import GlobalModel
from common.updates import DeviceUpdates
from server.aggregators.memory import Identity
from server.constraints import Evidence
from server.constraints.panel import PULLED, RoundMarks
from server.optimizers import ParameterUpdate
from server.round.admission import Admitted
from server.round.state import ServerState


@dataclass(frozen=True)
class TrustedUpdates:
    """m devices of a round: ``places`` int64 [m] among its updates, which are not copied; who they are, what
    they did to each row, int8 [m, K], whose node is new, and cosines of their encoders, [m, m]."""

    updates: DeviceUpdates
    places: Tensor
    identity: Identity
    marks: Tensor
    newcomers: Tensor | None
    alike: Tensor | None


def trusted_updates(
    admitted: Admitted, marks: Tensor, weights: Tensor | None, alike: Tensor | None = None
) -> TrustedUpdates:
    """The devices with half the median weight or more; all, under a rule that weighs none.

    Whom the rule does not believe holds nothing and bears no witness. marks int8 [n, K], weights [n],
    alike [n, n].
    """
    updates, identity, late = admitted.updates, admitted.identity, admitted.newcomers
    assert updates is not None
    where = updates.encoder.device
    places = torch.arange(len(updates), device=where) if weights is None else _trusted(weights)  # [m]
    if len(places) < len(updates):
        identity, marks, late = (
            identity.take(places),
            marks[places],
            None if late is None else late[places.to(late.device)],
        )
        alike = None if alike is None else alike[places[:, None], places]
    return TrustedUpdates(updates, places, identity, marks, late, alike)


def _trusted(weights: Tensor) -> Tensor:
    """Places int64 [m]; a weight that is no number silences nobody."""
    return (~(weights < weights.median() / 2)).nonzero().flatten()


def gather(
    config: RunConfig,
    state: ServerState,
    moved: Callable[[ParameterUpdate], GlobalModel],
    popularity: Tensor,
    trusted: TrustedUpdates,
    round_: int,
) -> Evidence:
    """The evidence of a round. ``state``: before the step; ``moved``: after a change; popularity [N].

    With code rows (common/codes.py) a constraint sees how many hold any item of a row.
    """

    def users(delta: ParameterUpdate, count: int, taste: float) -> Audience:
        """As long as those that replied, under the model after the change."""
        draw = generator(state.secret, "probes", round_)
        history = trusted.updates.history[trusted.places]
        drawn = torch.randint(len(history), (count,), generator=draw).to(history.device)
        lengths = history[drawn].long()
        lengths = lengths.clamp(1, config.model.max_len)
        items = made_up(popularity, lengths, draw, state.model.embeddings, taste)
        return Audience(items, last_states(config.model, moved(delta), items))

    def draw_witnesses(most: int) -> Audience:
        draw = generator(state.secret, "witness", round_)
        return witnesses(trusted.updates, trusted.marks, most, draw, trusted.places)

    items, marks = spread(trusted)
    round_marks = RoundMarks(round_, trusted.identity, items, marks, trusted.newcomers, trusted.alike)
    of_rows = popularity
    named = config.strategy.constraints not in ("auto", ())  # with codes ``auto`` is none
    if state.model.codes is not None and named:  # a pass over the catalogue
        of_rows = state.model.onto_rows(torch.cat([popularity.new_zeros(1), popularity]))[1:]  # [R]
    return Evidence(of_rows, users, round_marks, draw_witnesses)


def spread(trusted: TrustedUpdates) -> tuple[Tensor, Tensor]:
    """Items int32 [m·K] of all slices, and marks int8 [n, m·K] on them: 0 on those of other slices.

    A byte a device and item; the rows themselves are never spread.
    """
    updates, marks = trusted.updates, trusted.marks  # marks [n, K]
    if updates.slice is None:
        return updates.items, marks
    number = updates.slice.to(marks.device)[trusted.places.to(marks.device)]  # [n]
    whole = marks.new_zeros(len(marks), *updates.items.shape)  # [n, m, K]
    whole[torch.arange(len(marks), device=marks.device), number] = marks
    return updates.items.flatten(), whole.flatten(1)


def witnesses(
    updates: DeviceUpdates, marks: Tensor, most: int, gen: torch.Generator, places: Tensor | None = None
) -> Audience:
    """The states before up to ``most`` pulled items of each device, drawn at random, as unit vectors.

    A device that holds item i sends g_ui = Σ_t (1 − p_i) h_t/L over the places where i comes next, less what
    it has as a negative: but for its length the state h_t of a real user. Each device has as many votes, so
    malicious ones no more than their share. The history of a witness is the item it was pulled for.
    marks int8 [n, K] (server/round/popularity.py) of the devices at ``places`` int64 [n], or of all.
    """
    most = min(most, marks.shape[1])
    key = torch.rand(marks.shape, generator=gen).to(marks.device) * (marks == PULLED)  # [n, K]
    drawn = key.topk(most, dim=1)
    some = drawn.values > 0  # [n, most]
    device = torch.arange(len(marks), device=marks.device)[:, None].expand(-1, most)[some]  # [P]
    device = device if places is None else places[device]
    slot = drawn.indices[some]  # [P]
    states = F.normalize(updates.rows[device, slot], dim=1)  # [P, d]
    number = None if updates.slice is None else updates.slice.to(device.device)[device]  # [P]
    items = updates.items[slot] if number is None else updates.items[number, slot]  # [P]
    return Audience(items.long()[:, None], states)
