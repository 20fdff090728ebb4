"""Rules, attacks and the like as objects, and how a config names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass

from attacks import ATTACKS
from client.regularisers import REGULARISERS
from common.config import Component
from common.errors import ConfigError
from server.aggregators import AGGREGATORS
from server.aggregators.pre import KNOWN
from server.constraints import CONSTRAINTS
from server.optimizers import OPTIMIZERS

REGISTRIES: tuple[Mapping[str, Callable[..., object]], ...] = (
    AGGREGATORS,
    KNOWN,
    CONSTRAINTS,
    OPTIMIZERS,
    ATTACKS,
    REGULARISERS,
)


def as_component(part: object) -> Component:
    """Name of an object's class and parameters that differ from its defaults. Raises ConfigError."""
    for registry in REGISTRIES:
        for name, kind in registry.items():
            if type(part) is kind and is_dataclass(part) and not isinstance(part, type):
                params = {
                    one.name: value
                    for one in fields(part)
                    if one.init and (value := getattr(part, one.name)) != one.default
                }
                return Component.model_validate({"name": name, **params})
    raise ConfigError(f"{part!r} is no rule, constraint, optimiser, attack or regulariser of fedsieve")
