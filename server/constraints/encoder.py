"""Constraints on the encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from common.checks import positive, unit
from common.tasks import GlobalModel
from server.constraints.base import Evidence, Outcome
from server.optimizers import ParameterUpdate, State


@dataclass(frozen=True)
class EncoderStep:
    """‖δ_encoder‖ ≤ factor · a_t; a_t is the bias-corrected EMA of the permitted step norms so far.

    a ← decay·a + (1 − decay)·‖δ‖. The first round has no bound, nor have rounds after only zero steps.
    ``factor`` above 2 leaves room for a linear warm-up, where a step outruns its average by about 2.
    """

    factor: float = 3.0
    decay: float = 0.9

    def __post_init__(self) -> None:
        positive(factor=self.factor)
        unit(decay=self.decay)

    def init(self, start: GlobalModel) -> State:
        zero = start.table.new_zeros((), dtype=torch.float64)
        return {"mean": zero, "mass": zero.clone()}

    def __call__(
        self, model: GlobalModel, delta: ParameterUpdate, state: State, evidence: Evidence
    ) -> Outcome:
        squares = [block.double().square().sum() for block in delta.encoder.values()]
        *parts, mean, mass = torch.stack([*squares, state["mean"], state["mass"]]).tolist()
        size = sum(parts) ** 0.5
        bound = self.factor * mean / mass if mean > 0 else float("inf")
        scale = min(1.0, bound / size) if size > 0 else 1.0
        after = {
            "mean": state["mean"] * self.decay + (1 - self.decay) * size * scale,
            "mass": state["mass"] * self.decay + (1 - self.decay),
        }
        figures = {"encoder_step.norm": size, "encoder_step.scale": scale}
        if scale < 1:
            delta = replace(delta, encoder={name: scale * block for name, block in delta.encoder.items()})
        return delta, after, figures
