"""FLDetector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.checks import count
from common.tasks import GlobalModel
from common.updates import DeviceUpdates
from server.aggregators.base import Aggregate, Aggregator, Round, State, enough, weighted_sum
from server.aggregators.memory import recalled, remembered, signed
from server.aggregators.sketch import hashing, sketch_of
from server.aggregators.split import two_groups, upper

LIMIT = 1e18
"""Bound of a remembered value: products of two still are far within a float64."""


@dataclass(frozen=True)
class FlDetector(Aggregator):
    """Mean of the devices whose updates follow from their last ones; the inconsistent group is left out.

    Predicted: û_i = u_i' + H·(w − w'), where u_i' is what device i sent when the model was w', and H the
    L-BFGS estimate from the last ``window`` changes of the model and of the aggregate. Distance
    d_i = ‖û_i − u_i‖ over its mean in the round; score s_i = mean of i's last ``window`` distances. If the
    gap statistic finds two groups of scores, the upper one of 2-means gets weight 0 in this round; a device
    without a score yet is not judged. The paper has all clients in every round and starts the training anew
    without those it found; here a device is predicted from the round it was last in, and is judged again in
    each. Only the encoder is read: its coordinates are the same in every round, item rows are not. Vectors
    are kept as count sketches of ``width`` numbers, for ``capacity`` identities at most.
    Complexity O(n·P + n·width·window). Breakdown point 0 against attackers that are as consistent as honest
    devices, and in a device's first round; it needs no bound on the others. Reference: arXiv 2207.09209.
    """

    name: ClassVar[str] = "fldetector"
    window: int = 10
    width: int = 1024
    capacity: int = 16_384

    def __post_init__(self) -> None:
        count(1, window=self.window, width=self.width, capacity=self.capacity)

    def __call__(self, updates: DeviceUpdates, state: State, round_: Round) -> tuple[Aggregate, State]:
        enough(self, n := len(updates), round_.byzantine)
        model: GlobalModel = round_.given(self.name, "model")
        hashes = state["hashes"] if state else hashing(round_.generator)
        identity = signed(round_.identity)  # [n, 2]
        sent, here = self._short(updates.encoder, hashes), self._short(model.encoder[None], hashes)
        where = sent.device
        kept = recalled(state, identity, 1 + 2 * self.width + self.window, where)
        met, last, then, past = self._split(kept)
        away = (last + curved(state, (here - then).double()) - sent).norm(dim=1)  # [n], of no use unless met
        judged = met[:, 0] > 0
        usual = away[judged].mean() if judged.any() else away.new_zeros(())
        past = torch.cat([past[:, 1:], (1 + away / usual.clamp_min(1e-150))[:, None]], dim=1)
        past[~judged] = 0  # 1 + d, or 0 where there is none
        score = (past - 1).clamp_min(0).sum(dim=1) / (past > 0).sum(dim=1).clamp_min(1)  # [n]
        out = torch.zeros(n, dtype=torch.bool, device=where)
        if two_groups(score[judged], round_.generator):
            out[judged] = upper(score[judged])
        weights = ((~out).double() / (~out).sum()).float()
        encoder, rows = weighted_sum(updates, weights)
        row = torch.cat([torch.ones_like(sent[:, :1]), sent, here.expand_as(sent), past], dim=1).float()
        after = remembered(state, identity, row, round_.number, self.capacity)
        after = {
            **after,
            "hashes": hashes.clone(),
            **self._pairs(state, here, self._short(encoder[None], hashes)),
        }
        figures = {
            "fldetector.left_out": float(out.double().mean()),
            "fldetector.judged": float(judged.sum()),
        }
        return Aggregate(encoder, rows, weights, figures), after

    def _short(self, values: Tensor, hashes: Tensor) -> Tensor:
        """Sketches [m, width] of encoder vectors [m, P]."""
        return sketch_of(values, hashes.to(values.device), self.width).clamp(-LIMIT, LIMIT).double()

    def _split(self, rows: Tensor) -> tuple[Tensor, ...]:
        """What is kept of a device: met [n, 1], its last update, the model then, its distances."""
        parts: tuple[Tensor, ...] = torch.split(
            rows.double(), [1, self.width, self.width, self.window], dim=1
        )
        return parts

    def _pairs(self, state: State, here: Tensor, aggregate: Tensor) -> dict[str, Tensor]:
        """The changes of model and aggregate [≤ window, width], and what the next ones are measured from."""
        empty = here.new_zeros(0, self.width, dtype=torch.float32)
        steps, turns = state.get("steps", empty), state.get("turns", empty)
        if "model" in state:
            step = here - state["model"].double()
            if step.abs().max() > 0:  # after a skipped round the model has not moved: nothing to learn
                steps = torch.cat([steps, step.float()])
                turns = torch.cat([turns, (aggregate - state["aggregate"].double()).float()])
        return {
            "steps": steps[-self.window :].clone(),
            "turns": turns[-self.window :].clone(),
            "model": here.float(),
            "aggregate": aggregate.float(),
        }


def curved(state: State, moved: Tensor) -> Tensor:
    """H·v for each row v of ``moved`` [n, p], by the compact form of BFGS; 0 before there is a pair.

    S, Y [m, p] the changes of model and aggregate, oldest first; σ = ⟨y, s⟩/⟨s, s⟩ of the last; L the part
    of SYᵀ below the diagonal, D its diagonal: H = σI − [σSᵀ Yᵀ] [[σSSᵀ, L], [Lᵀ, −D]]⁻¹ [σS; Y].
    Updates are negative gradients, so H is minus a Hessian: the form is odd in Y, and the sign comes out.
    """
    if not state or not len(state["steps"]):
        return torch.zeros_like(moved)
    s, y = state["steps"].double(), state["turns"].double()
    both = s @ y.T  # [m, m]
    sigma = both[-1, -1] / (s[-1] @ s[-1])
    below = both.tril(-1)
    upper_part = torch.cat([sigma * s @ s.T, below], dim=1)
    lower_part = torch.cat([below.T, -both.diagonal().diag()], dim=1)
    middle = torch.linalg.pinv(torch.cat([upper_part, lower_part]), rtol=1e-10)  # [2m, 2m]
    factors = torch.cat([sigma * s, y])  # [2m, p]
    product: Tensor = sigma * moved - (moved @ factors.T) @ middle.T @ factors
    return product
