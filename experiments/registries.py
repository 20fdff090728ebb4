"""Every registry of components by its group, as in ``fedsieve list`` and in entry points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attacks import ATTACKS
from client.regularisers import REGULARISERS
from common.models import MODELS
from common.registry import Registry
from server.aggregators import AGGREGATORS
from server.aggregators.pre import KNOWN
from server.constraints import CONSTRAINTS
from server.optimizers import OPTIMIZERS

REGISTRIES: Mapping[str, Registry[Any]] = {
    "aggregators": AGGREGATORS,
    "pre": KNOWN,
    "attacks": ATTACKS,
    "models": MODELS,
    "regularisers": REGULARISERS,
    "optimizers": OPTIMIZERS,
    "constraints": CONSTRAINTS,
}
"""Those with a base class come first: those that only ask for methods would take some of theirs."""


def group_of(cls: object) -> str | None:
    """The group of the first registry that ``cls`` fits, if one does."""
    return next((group for group, registry in REGISTRIES.items() if registry.fits(cls)), None)
