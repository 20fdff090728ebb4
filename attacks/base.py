"""The contract of an attack: what it sees, and the three doors where it may act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from flwr.app import RecordDict

from client.batch import Batch
from client.cohort import Cohort
from common.tasks import TrainTask
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class View:
    """What a malicious node knows in a round: what it was sent, its own devices, its memory.

    cohort: its own devices, which can also be trained honestly; generator: shared by colluding nodes
    through the run's seed; memory: the node's state, kept from round to round.
    """

    task: TrainTask
    targets: tuple[int, ...]
    cohort: Cohort
    generator: torch.Generator
    memory: RecordDict

    def slots(self) -> list[int]:
        """Places in the slice of those targets that this round trains."""
        rows = self.cohort.rows.items
        return [int(i) for t in self.targets for i in (rows == t).nonzero()]


@dataclass(frozen=True)
class Attack:
    """An honest device; an attack overrides the door it comes through.

    kind       data, model or protocol
    goal       untargeted or targeted
    knowledge  what the attacker needs beside its own devices and the global model
    """

    kind: ClassVar[str] = "none"
    goal: ClassVar[str] = "untargeted"
    knowledge: ClassVar[str] = "global model, own data"
    reference: ClassVar[str] = ""

    def relabel(self, batch: Batch, view: View) -> Batch:
        """Data poisoning: change what a device trains on."""
        return batch

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        """Model poisoning: change the updates after training."""
        return updates

    def tamper(self, reply: RecordDict, view: View) -> RecordDict:
        """Protocol attack: change the message itself."""
        return reply
