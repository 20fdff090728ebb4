"""More rounds for a run that was to have fewer: its settings alone do not repeat it.

The learning rate follows the schedule of the shorter run up to there, and of the longer one from there on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Extension:
    """After round ``at`` a run of ``rounds`` became one of ``to``."""

    at: int
    rounds: int
    to: int


def facts(extended: Sequence[Extension]) -> dict[str, Any]:
    """What the summary says of it; nothing of a run that had its rounds from the start."""
    return {"extended": [asdict(one) for one in extended]} if extended else {}


def text(extended: Sequence[Extension]) -> str:
    """What the protocol line says of it."""
    told = (
        f"extended from {one.rounds} to {one.to} rounds" + f" after round {one.at}" * (one.at != one.rounds)
        for one in extended
    )
    return "".join(f"; {one}" for one in told)
