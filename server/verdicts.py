"""What goes into admission and what comes out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from flwr.app import RecordDict
from torch import Tensor

from common.updates import DeviceUpdates

Verdict = Literal["admitted", "refused", "clipped"]


@dataclass(frozen=True)
class AuditEntry:
    """What became of a device or, with ``device`` None, of a whole reply.

    ``clipped`` means admitted with a cut; ``reason`` is empty or one of :class:`common.wire.Reason`.
    evaluation: the split, of a reply to an evaluation; empty for one to training.
    """

    round: int
    node: int
    device: int | None
    verdict: Verdict
    reason: str = ""
    detail: str = ""
    evaluation: str = ""

    def to_json(self) -> dict[str, int | str | None]:
        """A line of ``audit.jsonl``; those of training have no ``evaluation``."""
        return {name: value for name, value in asdict(self).items() if name != "evaluation" or value}


@dataclass(frozen=True)
class Reply:
    """What came back from one request: a node, the devices asked (int64 [m]), content or an error text."""

    node: int
    asked: Tensor
    content: RecordDict | None
    error: str = ""


@dataclass(frozen=True)
class Admitted:
    """Devices in the order (device number, node), whatever the order of arrival; None when there is none.

    root: what trusted nodes sent, on the items of ``updates``; they are not among those.
    newcomers: those of ``identity`` whose node came late and has not been here for long.
    """

    updates: DeviceUpdates | None
    identity: tuple[tuple[int, int], ...]
    audit: list[AuditEntry]
    root: DeviceUpdates | None = None
    newcomers: frozenset[tuple[int, int]] = frozenset()
