"""Representation constraints: what a server step may do to item rows and encoder, whatever the rule.

They come after the server step, because Adam turns a tiny poisoned row into a full-size step.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.registry import Component, Registry
from server.constraints.base import Chain, Constraint, Evidence, Outcome
from server.constraints.encoder import EncoderStep
from server.constraints.exposure import ExposureCap
from server.constraints.popularity import PopularityCap
from server.constraints.rows import RowDrift, RowNormCap
from server.constraints.trust import RowTrust
from server.constraints.variance import VarianceFloor

_OWN: dict[str, type[Constraint]] = {
    "row_norm_cap": RowNormCap,
    "row_drift": RowDrift,
    "row_trust": RowTrust,
    "popularity_cap": PopularityCap,
    "exposure_cap": ExposureCap,
    "variance_floor": VarianceFloor,
    "encoder_step": EncoderStep,
}
CONSTRAINTS: Registry[Constraint] = Registry("constraint", "constraints", _OWN, ("init", "__call__"))


def build_constraints(components: Sequence[Component]) -> Chain:
    """The constraints a config names, in that order. Raises ConfigError for an unknown name or parameter."""
    return Chain(tuple(CONSTRAINTS.build(c.name, c.params) for c in components))


__all__ = ["CONSTRAINTS", "Chain", "Constraint", "Evidence", "Outcome", "build_constraints"]
