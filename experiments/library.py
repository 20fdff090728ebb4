"""The modules of ``fedsieve/`` that hand on every rule, attack and the like by class.

They are written, so that an editor and mypy see each name; ``python -m experiments.catalogue`` writes them
anew from the registries.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from attacks import ATTACKS
from attacks.base import Attack, View
from client.regularisers import REGULARISERS
from client.regularisers.base import Own, Regulariser
from common.models import MODELS, SequenceModel
from server.aggregators import AGGREGATORS
from server.aggregators.base import Aggregate, Aggregator, GramRule, Round
from server.aggregators.coordinates import CoordinateRule
from server.aggregators.pre import KNOWN
from server.aggregators.pre.base import Mixer
from server.constraints import CONSTRAINTS
from server.constraints.base import Constraint, Evidence
from server.optimizers import OPTIMIZERS
from server.optimizers.base import Optimizer, ParameterUpdate

FOLDER = Path(__file__).resolve().parents[1] / "fedsieve"
RULES = (Aggregate, Aggregator, CoordinateRule, GramRule, Mixer, Round)
PARTS: Mapping[str, tuple[str, Iterable[object]]] = {
    "aggregators": (
        "Aggregation rules and pre-aggregators, and what a rule of one's own is derived from.",
        [*AGGREGATORS.values(), *KNOWN.values(), *RULES],
    ),
    "attacks": ("Attacks, and what one of one's own is derived from.", [*ATTACKS.values(), Attack, View]),
    "constraints": (
        "What a server step may do, and what a constraint of one's own is given.",
        [*CONSTRAINTS.values(), Constraint, Evidence],
    ),
    "models": ("Sequence models, and what training needs of one.", [*MODELS.values(), SequenceModel]),
    "optimizers": (
        "Server steps, and what one of one's own is given.",
        [*OPTIMIZERS.values(), Optimizer, ParameterUpdate],
    ),
    "regularisers": (
        "Terms of a device's loss, and what one of one's own is derived from.",
        [*REGULARISERS.values(), Own, Regulariser],
    ),
}


def module(part: str) -> str:
    """The text of ``fedsieve/<part>.py``, as ruff would format it."""
    title, classes = PARTS[part]
    homes: dict[str, set[str]] = {}
    for one in classes:
        assert isinstance(one, type)
        homes.setdefault(one.__module__, set()).add(one.__name__)
    imports = [f"from {home} import {', '.join(sorted(homes[home], key=_order))}" for home in sorted(homes)]
    every = sorted({name for found in homes.values() for name in found}, key=_order)
    lines = "\n".join(f'    "{name}",' for name in every)
    head = "\n".join(textwrap.wrap(f'"""{title}', 108))
    return (
        f'{head}\n\nWritten by `python -m experiments.catalogue`.\n"""\n\n'
        + "\n".join(imports)
        + f"\n\n__all__ = [\n{lines}\n]\n"
    )


def _order(name: str) -> tuple[bool, str]:
    return not name.isupper(), name


def write() -> None:
    """Write every module."""
    for part in PARTS:
        (FOLDER / f"{part}.py").write_text(module(part), encoding="utf-8")
