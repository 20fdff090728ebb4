"""What goes into admission and what comes out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from flwr.app import RecordDict
from torch import Tensor

from common.updates import DeviceUpdates
from common.wire import Reason


@dataclass(frozen=True)
class AuditEntry:
    """What became of a device or, with ``device`` None, of a whole reply.

    ``seconds_held``: how long a round waited for this node's reply alone, in vain.
    ``clipped`` means admitted with a cut; ``reason`` is empty or one of :class:`common.wire.Reason`.
    """

    round: int
    node: int
    device: int | None
    verdict: Literal["admitted", "refused", "clipped"]
    reason: str = ""
    detail: str = ""
    seconds_held: float | None = None

    def to_json(self) -> dict[str, int | float | str | None]:
        """A line of ``audit.jsonl``; a time only where one was measured."""
        found = asdict(self)
        if self.seconds_held is None:
            del found["seconds_held"]
        return found


@dataclass(frozen=True)
class Reply:
    """What came back from one request: a node, the devices asked (int64 [m]), content or an error text.

    reason: of the audit, for an error. seconds_held: what a round waited for this reply in vain.
    """

    node: int
    asked: Tensor
    content: RecordDict | None
    error: str = ""
    reason: Reason = Reason.FAILED
    seconds_held: float | None = None


@dataclass(frozen=True)
class Admitted:
    """Devices in the order (device number, node), whatever the order of arrival; None when there is none.

    root: what trusted nodes sent, on the items of ``updates``; they are not among those.
    newcomers: those of ``identity`` that their node did not enrol with at first.
    """

    updates: DeviceUpdates | None
    identity: tuple[tuple[int, int], ...]
    audit: list[AuditEntry]
    root: DeviceUpdates | None = None
    newcomers: frozenset[tuple[int, int]] = frozenset()
