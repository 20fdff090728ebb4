"""What constraints may know of a round beside the model, gathered from the devices that the rule heard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from common.config import RunConfig
from common.probes import Audience, last_states, made_up
from common.seeding import generator
from common.tasks import GlobalModel
from common.updates import DeviceUpdates
from server.constraints import Evidence
from server.optimizers import ParameterUpdate
from server.round.admission import Admitted
from server.round.panel import Seen
from server.round.state import ServerState
from server.round.witnesses import witnesses


@dataclass(frozen=True)
class Voices:
    """m devices: their updates, who they are, and what they did to each row, int8 [m, K]."""

    updates: DeviceUpdates
    identity: tuple[tuple[int, int], ...]
    marks: Tensor
    newcomers: frozenset[tuple[int, int]]


def voices(admitted: Admitted, marks: Tensor, weights: Tensor | None) -> Voices:
    """The devices with half the median weight or more; all, under a rule that weighs none.

    Whom the rule does not believe holds nothing and bears no witness. marks int8 [n, K], weights [n].
    """
    updates, identity = admitted.updates, admitted.identity
    assert updates is not None
    places = torch.arange(len(updates)) if weights is None else _heard(weights)  # [m]
    if len(places) < len(updates):
        updates, marks = updates.take(places), marks[places]
        identity = tuple(identity[k] for k in places.tolist())
    return Voices(updates, identity, marks, admitted.newcomers)


def _heard(weights: Tensor) -> Tensor:
    """Places int64 [m]; a weight that is no number silences nobody."""
    return (~(weights < weights.median() / 2)).nonzero().flatten()


def gather(
    config: RunConfig,
    state: ServerState,
    moved: Callable[[ParameterUpdate], GlobalModel],
    popularity: Tensor,
    heard: Voices,
    round_: int,
) -> Evidence:
    """The evidence of a round. ``state``: before the step; ``moved``: after a change; popularity [N]."""

    def users(delta: ParameterUpdate, count: int, taste: float) -> Audience:
        """As long as those that replied, under the model after the change."""
        draw = generator(state.secret, "probes", round_)
        history = heard.updates.history
        lengths = history[torch.randint(len(history), (count,), generator=draw)].long()
        items = made_up(popularity, lengths.clamp(1, config.model.max_len), draw, state.model.table, taste)
        return Audience(items, last_states(config.model, moved(delta), items))

    def shown(most: int) -> Audience:
        return witnesses(heard.updates, heard.marks, most, generator(state.secret, "witness", round_))

    seen = Seen(round_, heard.identity, heard.updates.items, heard.marks, heard.newcomers)
    return Evidence(popularity, users, seen, shown)
