"""Memory for the updates of a round that come in several replies of one node: joining them copies nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common.updates import DeviceUpdates, UpdateSpec

BLOCK = 1 << 22
"""Values that are moved at once."""


@dataclass
class Room:
    """encoder [m, P] and rows [m, K, d] for as many devices as were asked; ``used`` of them are there.

    They lie at the beginning, one after the other. What nobody wrote to is no memory yet.
    """

    encoder: Tensor
    rows: Tensor
    used: int = 0

    @staticmethod
    def of(expect: UpdateSpec, devices: int, where: torch.device) -> Room:
        """Room for so many ``devices`` of a round with one slice."""
        rows = torch.empty(devices, len(expect.items), expect.dim, device=where)
        return Room(torch.empty(devices, expect.num_parameters, device=where), rows)

    def free(self) -> dict[str, Tensor]:
        """Where the next reply may be decoded to."""
        return {"encoder": self.encoder[self.used :], "rows": self.rows[self.used :]}

    def keep(self, part: DeviceUpdates, index: Tensor) -> DeviceUpdates:
        """Those at ``index`` int64 [m], ascending, of a part that lies here, drawn together in place."""
        for values in (part.encoder, part.rows):
            _moved(values, index, values)
        n, where = len(index), index.to(part.rows.device)
        return replace(
            part,
            encoder=part.encoder[:n],
            rows=part.rows[:n],
            history=part.history[where],
            device=part.device[where],
        )

    def joined(self, parts: Sequence[DeviceUpdates], order: Tensor) -> DeviceUpdates:
        """All n devices of ``parts``, which lie here one after the other, in the ``order`` int64 [n]."""
        at = 0
        for part in parts:
            for values, whole in ((part.encoder, self.encoder), (part.rows, self.rows)):
                if values.storage_offset() != at * whole.stride(0):
                    _moved(values, torch.arange(len(part)), whole[at:])
            at += len(part)
        updates = replace(
            parts[0],
            encoder=self.encoder[:at],
            rows=self.rows[:at],
            history=torch.cat([part.history for part in parts]),
            device=torch.cat([part.device for part in parts]),
        )
        return updates if torch.equal(order, torch.arange(at)) else updates.take(order)


def _moved(values: Tensor, index: Tensor, to: Tensor) -> None:
    """to[k] = values[index[k]], index ascending, where ``to`` begins at ``values`` or before it in memory.

    In blocks, each of which is copied before any of it is overwritten; what follows is not touched by then.
    """
    index = index.to(values.device)
    step = max(1, BLOCK // max(1, values[:1].numel()))
    for start in range(0, len(index), step):
        some = index[start : start + step]
        to[start : start + len(some)] = values[some]
