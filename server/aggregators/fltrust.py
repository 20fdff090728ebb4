"""FLTrust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough, weighted_sum
from server.aggregators.gram import products_with, whole_norms

TINY = 1e-150
NOWHERE = 1e-30
"""An update this much shorter than g_0 points nowhere: made as long, it would leave float32."""


@dataclass(frozen=True)
class FlTrust(Aggregator):
    """Σ TS_i·(‖g_0‖/‖u_i‖)·u_i / Σ TS with TS_i = max(0, cos(u_i, g_0)); g_0 is the root update.

    g_0 is the mean update of the round's trusted devices (``strategy.trusted_nodes``: nodes that the
    operator runs on a small public log), on the items of the round; they are not among the u_i. Every u_i
    counts with the length of g_0, so what a device sends decides its direction alone. Where all point away
    from g_0 the result is 0. A round without a root is skipped. weights are TS_i/Σ TS, before the lengths
    are made equal. Complexity O(n·P). Breakdown point 1 in length: the result is never longer than g_0 and
    never points away from it, however many are malicious; within that half-space a majority steers it, as
    does a root that does not look like the devices. Reference: arXiv 2012.13995.
    """

    name: ClassVar[str] = "fltrust"
    rooted: ClassVar[bool] = True
    sliced: ClassVar[bool] = False

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, len(updates), round_.byzantine)
        root: DeviceUpdates = round_.given(self.name, "root")
        encoder, rows = root.encoder.mean(dim=0), root.rows.mean(dim=0)  # g_0: [P], [K, d]
        length = (encoder.double().square().sum() + rows.double().square().sum()).sqrt()
        sizes = whole_norms(updates)  # [n]
        cosine = products_with(updates, encoder, rows) / (sizes * length).clamp_min(TINY)  # [n]
        trust = torch.where(sizes > NOWHERE * length, cosine.clamp_min(0), 0.0)
        shares = trust / trust.sum().clamp_min(TINY)
        result = weighted_sum(updates, (shares * length / sizes.clamp_min(TINY)).float())
        figures = {
            "fltrust.trusted": float((trust > 0).double().mean()),
            "fltrust.cosine": float(cosine.mean()),
        }
        return Aggregate(*result, shares.float(), figures), state
