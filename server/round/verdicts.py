"""What goes into admission and what comes out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from common.printable import printable
from common.updates import DeviceUpdates
from common.wire.reasons import Reason
from server.aggregators.memory import Identity

Verdict = Literal["admitted", "clipped", "idle", "refused"]
"""``clipped``: admitted with a cut. ``idle``: not used, and nothing is wrong with the device."""

LEFT_OUT = ("idle", "refused")
Line = dict[str, Any]


@dataclass(frozen=True)
class AuditEntry:
    """What became of a device or, with ``device`` None, of a whole reply.

    ``seconds_held``: how long a round waited for this node's reply alone, in vain.
    ``reason`` is empty or one of :class:`common.wire.Reason`.
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

    def to_json(self) -> dict[str, Any]:
        """A line of ``audit.jsonl``; without an evaluation or a time where there is none."""
        told = asdict(self) | {"detail": printable(self.detail)}  # it may repeat what a node wrote
        left_out = {"evaluation": "", "seconds_held": None}
        return {name: value for name, value in told.items() if value != left_out.get(name, ...)}

    @property
    def order(self) -> tuple[int, int, str, str]:
        """By node, the reply as a whole before its devices: independent of the order of arrival."""
        return self.node, -1 if self.device is None else self.device, self.reason, self.detail


@dataclass(frozen=True, eq=False)
class Audit(Sequence[AuditEntry]):
    """What became of the devices and replies of a round, in the order of :attr:`AuditEntry.order`.

    ``identity`` are the admitted devices, ``plain`` bool [n] those that were taken as they are: they have no
    object, and an entry of theirs is made when it is asked for. ``entries`` are all others.
    """

    round: int
    identity: Identity = field(default_factory=lambda: Identity(torch.zeros(0, 2, dtype=torch.int64)))
    plain: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    entries: tuple[AuditEntry, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", tuple(sorted(self.entries, key=lambda e: e.order)))

    def count_of(self, reason: Reason) -> int:
        """Replies and devices that were left out or cut for ``reason``."""
        return sum(entry.reason == reason.value for entry in self.entries)

    @cached_property
    def taken(self) -> Identity:
        """The plain devices, m of them."""
        return self.identity.take(self.plain)

    @cached_property
    def order(self) -> list[int]:
        """What stands at each place: k < m the k-th plain device, or entry k - m."""
        pairs = self.taken.pairs.numpy()
        devices = [-1 if e.device is None else e.device for e in self.entries]
        device = np.concatenate([pairs[:, 1], np.array(devices, dtype=np.int64)])
        nodes = np.array([e.node for e in self.entries], dtype=np.uint64)
        node = np.concatenate([pairs[:, 0].astype(np.uint64), nodes])  # numbers without a sign again
        found: list[int] = np.lexsort((device, node)).tolist()  # stable: entries stay in their own order
        return found

    def __len__(self) -> int:
        return len(self.taken) + len(self.entries)

    @overload
    def __getitem__(self, index: int) -> AuditEntry: ...
    @overload
    def __getitem__(self, index: slice) -> list[AuditEntry]: ...
    def __getitem__(self, index: int | slice) -> AuditEntry | list[AuditEntry]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        place, plain = self.order[index], len(self.taken)
        if place >= plain:
            return self.entries[place - plain]
        return AuditEntry(self.round, *self.taken[place], "admitted")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class AuditLines(Sequence[Line]):
    """The lines of a round for ``audit.jsonl``: ``news`` first, then the audit with the devices' weights.

    weights: of each admitted device, float [n], or None where the rule has none. As a Sequence it holds
    dictionaries; :meth:`text` writes the same without making one for each device.
    """

    audit: Audit
    weights: Tensor | None = None
    news: Sequence[AuditEntry] = ()

    def __len__(self) -> int:
        return len(self.news) + len(self.audit)

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> list[Line]: ...
    def __getitem__(self, index: int | slice) -> Line | list[Line]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        before = index - len(self.news)
        return self.news[index].to_json() if before < 0 else self._line(self.audit[before])

    def text(self, user: Callable[[int | None], str | None] = lambda device: None) -> str:
        """All lines as JSON, each with its line end; ``user``: the own id of a device, where it is known."""

        def whose(device: int | None) -> dict[str, str]:
            return {} if (found := user(device)) is None else {"user": found}

        head = f'{{"round": {self.audit.round}, "node": '
        tail = '"verdict": "admitted", "reason": "", "detail": ""'
        weights = [""] * len(self.audit.taken)
        if self.weights is not None and weights:
            numbers = json.dumps(self.weights[self.audit.plain].tolist())[1:-1]
            weights = [f', "weight": {number}' for number in numbers.split(", ")]
        plain = zip(self.audit.taken, weights, strict=True)
        lines = []
        for (node, device), weight in plain:
            own = "" if (found := user(device)) is None else f', "user": {json.dumps(found)}'
            lines.append(f'{head}{node}, "device": {device}, {tail}{weight}{own}}}\n')
        lines += [json.dumps(self._line(entry) | whose(entry.device)) + "\n" for entry in self.audit.entries]
        news = [json.dumps(entry.to_json()) + "\n" for entry in self.news]
        return "".join([*news, *(lines[k] for k in self.audit.order)])

    @cached_property
    def _weight(self) -> dict[tuple[int, int], float]:
        if self.weights is None:
            return {}
        return dict(zip(self.audit.identity, self.weights.tolist(), strict=True))

    def _line(self, entry: AuditEntry) -> dict[str, Any]:
        line = entry.to_json()
        if entry.verdict not in LEFT_OUT and entry.device is not None and self.weights is not None:
            line["weight"] = self._weight[entry.node, entry.device]
        return line


def verdicts(lines: Sequence[Line]) -> Counter[tuple[bool, str, str]]:
    """How often each (of a whole reply?, verdict, reason) stands in the lines of a round."""
    if not isinstance(lines, AuditLines):
        return Counter((line["device"] is None, line["verdict"], line["reason"]) for line in lines)
    entries = (*lines.news, *lines.audit.entries)
    found = Counter((e.device is None, str(e.verdict), e.reason) for e in entries)
    found[False, "admitted", ""] += len(lines.audit.taken)
    return found


@dataclass(frozen=True)
class Admitted:
    """Devices in the order (slice, device number, node), whatever the order of arrival; None without any.

    root: what trusted nodes sent, on the items of ``updates``; they are not among those.
    newcomers: bool [n], those whose node came late and has not been here for long; None: nobody's.
    """

    updates: DeviceUpdates | None
    identity: Identity
    audit: Audit
    root: DeviceUpdates | None = None
    newcomers: Tensor | None = None
