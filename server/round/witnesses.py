"""What real users look like, as their updates show it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from common.probes import Audience
from common.updates import DeviceUpdates
from server.round.popularity import PULLED


def witnesses(updates: DeviceUpdates, marks: Tensor, most: int, gen: torch.Generator) -> Audience:
    """The states before up to ``most`` pulled items of each device, drawn at random, as unit vectors.

    A device that holds item i sends g_ui = Σ_t (1 − p_i) h_t/L over the places where i comes next, less what
    it has as a negative: but for its length the state h_t of a real user. Each device has as many votes, so
    malicious ones no more than their share. The history of a witness is the item it was pulled for.
    marks int8 [n, K] (server/round/popularity.py).
    """
    most = min(most, marks.shape[1])
    key = torch.rand(marks.shape, generator=gen) * (marks == PULLED)  # [n, K]
    drawn = key.topk(most, dim=1)
    some = drawn.values > 0  # [n, most]
    device = torch.arange(len(marks))[:, None].expand(-1, most)[some]  # [P]
    slot = drawn.indices[some]  # [P]
    states = F.normalize(updates.rows[device, slot], dim=1)  # [P, d]
    return Audience(updates.items[slot].long()[:, None], states)
