"""What a run knows of its nodes from beginning to end: who came with what, and what they may be asked again.

A node answers for the same quartiles and the same sample in every evaluation (client/disclosure.py), so the
server keeps to the first ones that it asked for, also after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from common.errors import CheckpointError
from common.sampling import Sample
from common.tasks import Enrolment
from server.aggregators.memory import signed
from server.nodes.shares import quartiles


@dataclass(frozen=True)
class Member:
    """What a node came with, which is what it has for the rest of the run; ``joined``: after that round."""

    enrolment: Enrolment
    joined: int


@dataclass
class Membership:
    """members: all that ever enrolled.

    bounds: the quartiles of history length when they were first asked for.
    sampled: the size of the first sample that evaluated, and its ``below``.
    """

    members: dict[int, Member] = field(default_factory=dict)
    bounds: tuple[int, int, int] | None = None
    sampled: tuple[int, int] | None = None

    def quartiles(self, histories: Callable[[], Tensor]) -> tuple[int, int, int]:
        """Bounds of the quartiles of history length, of ``histories`` int [n] when first asked."""
        if self.bounds is None:
            self.bounds = quartiles(histories())
        return self.bounds

    def sample(self, count: int, salt: str, numbers: Callable[[], Tensor]) -> Sample:
        """The part that evaluates: ``count`` of the devices ``numbers`` int64 [n] when first asked."""
        if self.sampled is None:
            self.sampled = count, Sample.of(salt, numbers(), count).below
        return Sample(salt, self.sampled[1])

    def check_sample(self, count: int) -> None:
        """Raises CheckpointError for another sample than the one that the nodes of the run keep to."""
        if self.sampled is not None and count not in (0, self.sampled[0]):
            raise CheckpointError(
                f"eval.sample was {self.sampled[0]}, given {count}; the nodes of this run keep to the first "
                f"sample: valid are 0 and {self.sampled[0]}"
            )

    def tensors(self) -> dict[str, Tensor]:
        """All of it, for a checkpoint."""
        members = sorted(self.members.items())
        enrolments = [m.enrolment for _, m in members]
        none = [torch.zeros(0, dtype=torch.int64)]
        return {
            "bounds": torch.tensor(self.bounds or (), dtype=torch.int64),
            "sampled": torch.tensor(self.sampled or (), dtype=torch.int64),
            "node": signed([(node, 0) for node, _ in members])[:, 0],
            "joined": torch.tensor([m.joined for _, m in members], dtype=torch.int64),
            "count": torch.tensor([len(e.devices) for e in enrolments], dtype=torch.int64),
            "device": torch.cat([e.devices for e in enrolments] or none),
            "history": torch.cat([e.history.long() for e in enrolments] or none),
        }

    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`tensors` kept."""
        if not saved:
            return
        self.bounds = tuple(saved["bounds"].tolist()) or None
        self.sampled = tuple(saved["sampled"].tolist()) or None
        counts = saved["count"].tolist()
        devices = torch.split(saved["device"], counts)
        histories = torch.split(saved["history"].int(), counts)
        whole = zip(saved["node"].tolist(), saved["joined"].tolist(), devices, histories, strict=True)
        for node, joined, numbers, history in whole:
            self.members[node % (1 << 64)] = Member(Enrolment(numbers, history), joined)
