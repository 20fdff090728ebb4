"""Control: the malicious side behaves honestly, so that a clean run is measured on the same users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from attacks.base import Attack


@dataclass(frozen=True)
class Control(Attack):
    """No poison at all; like every malicious node it only abstains from the evaluation."""

    kind: ClassVar[str] = "none"
    goal: ClassVar[str] = "none"
    knowledge: ClassVar[str] = "nothing"
