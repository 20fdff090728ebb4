"""Pre-aggregators by name: they mix or shrink the updates before a rule sees them (``heat``: after it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.errors import ConfigError
from common.registry import Component, Registry
from server.aggregators.base import Aggregator
from server.aggregators.hics import Hics
from server.aggregators.pre.arc import Arc
from server.aggregators.pre.base import Composed, Mixer
from server.aggregators.pre.bucketing import Bucketing
from server.aggregators.pre.clip import Clip
from server.aggregators.pre.heat import Heat, Heated
from server.aggregators.pre.nnm import Nnm

PRE: Mapping[str, type[Mixer]] = {
    "arc": Arc,
    "bucketing": Bucketing,
    "clip": Clip,
    "nnm": Nnm,
}
"""Mixers by name."""

KNOWN: Registry[Mixer | Heat] = Registry("pre-aggregator", "pre", {**PRE, Heat.name: Heat}, (Mixer, Heat))
"""All that ``strategy.pre`` may name."""


def with_pre(rule: Aggregator, components: Sequence[Component]) -> Aggregator:
    """``rule`` behind the pre-aggregators a config names, in that order; ``heat`` corrects what it returns.

    Raises ConfigError for an unknown name or parameter, or a part that the rule has already.
    """
    parts = [KNOWN.build(c.name, c.params) for c in components]
    heats = [part for part in parts if isinstance(part, Heat)]
    mixers = tuple(part for part in parts if isinstance(part, Mixer))
    if heats and (isinstance(rule, Hics) or getattr(rule, "electorate", "all") == "touched"):
        raise ConfigError(f"aggregator {rule.name!r} counts only who touched a row: heat would do so twice")
    combined = Composed(mixers, rule) if mixers else rule
    for heat in heats:
        combined = Heated(heat, combined)
    return combined


__all__ = ["KNOWN", "PRE", "Composed", "Heat", "Heated", "Mixer", "with_pre"]
