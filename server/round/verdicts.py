"""What goes into admission and what comes out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

from common.printable import printable
from common.updates import DeviceUpdates

Verdict = Literal["admitted", "refused", "clipped"]


@dataclass(frozen=True)
class AuditEntry:
    """What became of a device or, with ``device`` None, of a whole reply.

    ``seconds_held``: how long a round waited for this node's reply alone, in vain.
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
    seconds_held: float | None = None

    def to_json(self) -> dict[str, int | float | str | None]:
        """A line of ``audit.jsonl``; without an evaluation or a time where there is none."""
        told = asdict(self) | {"detail": printable(self.detail)}  # it may repeat what a node wrote
        left_out = {"evaluation": "", "seconds_held": None}
        return {name: value for name, value in told.items() if value != left_out.get(name, ...)}


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

    def lines(self, weights: Tensor | None) -> list[dict[str, Any]]:
        """The audit as JSON, with each admitted device's weight beside it; weights [n]."""
        weight = {} if weights is None else dict(zip(self.identity, weights.tolist(), strict=True))
        lines = []
        for entry in self.audit:
            line: dict[str, Any] = dict(entry.to_json())
            if entry.device is not None and (entry.node, entry.device) in weight:
                line["weight"] = weight[entry.node, entry.device]
            lines.append(line)
        return lines
