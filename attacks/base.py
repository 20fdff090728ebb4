"""The contract of an attack: what it sees, and the doors where it may act."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from flwr.app import RecordDict
from torch import Tensor

from client.batch import Batch
from client.cohort import Cohort
from common.data.ragged import Index
from common.data.types import Items
from common.tasks import EvaluateSums, TrainTask
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class View:
    """What a malicious node knows in a round: what it was sent, its own devices, its memory.

    cohort: its own devices, which can also be trained honestly; seed: what colluding nodes agreed upon, the
    same in every round; generator: of this round, theirs alike; memory: the node's state, kept from round to
    round; honest: with ``knowledge: full`` the updates that honest devices sent in this round, else None;
    sleep: waits, in seconds, where there is a clock. A round with several slices has a view for each slice
    that one of its devices takes: task, cohort, generator and honest are of this slice.
    """

    task: TrainTask
    targets: tuple[int, ...]
    cohort: Cohort
    generator: torch.Generator
    memory: RecordDict
    seed: int = 0
    honest: DeviceUpdates | None = None
    sleep: Callable[[float], None] = time.sleep

    def slots(self) -> list[int]:
        """Places of the targets' rows among those that this round trains, target after target."""
        return [slot for slot, _ in self._places()]

    def aims(self) -> list[int]:
        """The target of each of :meth:`slots`; with codes a target has several."""
        return [target for _, target in self._places()]

    def aimed(self) -> Tensor:
        """Embedding of the target of each of :meth:`slots`: [m, d]."""
        model = self.task.model
        return model.embed(torch.tensor(self.aims(), dtype=torch.int64, device=model.table.device))

    def _places(self) -> list[tuple[int, int]]:
        place = {number: slot for slot, number in enumerate(self.cohort.rows.numbers.tolist())}
        numbers = self.task.model.numbers(torch.tensor(self.targets, dtype=torch.int64)).tolist()
        own = [(n, target) for target, some in zip(self.targets, numbers, strict=True) for n in some]
        return [(place[number], target) for number, target in own if number in place]


@dataclass(frozen=True)
class Attack:
    """An honest device; an attack overrides the door it comes through.

    kind       data, model or protocol
    goal       untargeted or targeted
    knowledge  what the attacker needs beside its own devices and the global model
    full       whether it can use the honest updates of the round (``knowledge: full``)
    owned      whether it needs items with rows of their own: it cannot be with ``model.code_books``
    """

    kind: ClassVar[str] = "none"
    goal: ClassVar[str] = "untargeted"
    knowledge: ClassVar[str] = "global model, own data"
    reference: ClassVar[str] = ""
    full: ClassVar[bool] = False
    owned: ClassVar[bool] = False

    def with_items(self, find: Callable[[str], int]) -> Self:
        """The attack with the items among its parameters, ids of the log or ``#12``, as numbers."""
        return self

    def history(self, items: Items, number: int, targets: tuple[int, ...], seed: int) -> Items:
        """Data poisoning at its source: the history of device ``number``, the same in every round."""
        return items

    def slices(self, cohort: Cohort, targets: tuple[int, ...]) -> Index:
        """Which of the round's slices each device takes, int64 [n].

        The one with the target, of several the one with most of them; a device that aims at no item, or at
        none that this round trains, takes the one of most next items as an honest one does.
        """
        if self.goal != "targeted":
            return cohort.targets.most()
        number, count = cohort.targets.slice_of(), cohort.task.train_config.slices
        known = [target for target in targets if target < len(number)]
        held = np.bincount(number[known], minlength=count + 1)[:count]  # [m]
        aims = np.broadcast_to(held, (len(cohort.devices), count))
        return cohort.targets.most(aims if held.any() else None)

    def relabel(self, batch: Batch, view: View) -> Batch:
        """Data poisoning: change what a device trains on."""
        return batch

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        """Model poisoning: change the updates after training."""
        return updates

    def tamper(self, reply: RecordDict, view: View) -> RecordDict:
        """Protocol attack: change the message itself."""
        return reply

    def evaluation(self, nothing: EvaluateSums, honest: Callable[[], EvaluateSums]) -> EvaluateSums:
        """What the node tells of its devices: it abstains with ``nothing``. ``honest()`` ranks them."""
        return nothing
