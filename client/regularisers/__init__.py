"""Terms that a device adds to its loss, for ONE user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from client.regularisers.base import CHANNELS, Own, Regulariser
from client.regularisers.distillation import Distillation
from client.regularisers.order import OrderConsistency
from client.regularisers.states import Anchor, Coherence
from client.regularisers.uniformity import Uniformity
from client.regularisers.views import TwoViews
from common.registry import Component, Registry

_OWN: Mapping[str, type[Regulariser]] = {
    "anchor": Anchor,
    "coherence": Coherence,
    "distillation": Distillation,
    "order_consistency": OrderConsistency,
    "two_views": TwoViews,
    "uniformity": Uniformity,
}
REGULARISERS: Registry[Regulariser] = Registry("regulariser", "regularisers", _OWN, Regulariser)


def build_regularisers(components: Sequence[Component]) -> tuple[Regulariser, ...]:
    """The terms that a config names. Raises UnknownName or ConfigError with the valid names."""
    return tuple(REGULARISERS.build(c.name, c.params) for c in components)


__all__ = ["CHANNELS", "REGULARISERS", "Own", "Regulariser", "build_regularisers"]
