"""Segment: after items like the target comes the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from attacks.base import View
from attacks.shilling import Shilling, draw, innocent, trained_targets


@dataclass(frozen=True)
class Segment(Shilling):
    """Fillers x_t ~ U(the ``size`` items v of largest cos(e_v, e_target)), y_t := target.

    The segment attack (Mobasher et al. 2007, doi 10.1145/1278366.1278372) aims at those who like items of
    the target's kind. The kind is read from the global item table; several targets join their segments.
    """

    size: int = 20

    knowledge: ClassVar[str] = "global model"
    reference: ClassVar[str] = "doi 10.1145/1278366.1278372"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size is {self.size}; expected at least 1 item")

    def segment(self, view: View) -> Tensor:
        """The items of the segment, ascending."""
        pool = innocent(view)
        unit = F.normalize(view.task.model.embeddings, dim=1)  # [N + 1, d]
        alike = unit[pool] @ unit[trained_targets(view)].T  # [≤ N, targets]
        nearest = alike.topk(min(self.size, len(pool)), dim=0).indices  # [size, targets]
        return pool[torch.unique(nearest)]

    def fillers(self, shape: torch.Size, view: View) -> Tensor:
        return draw(self.segment(view), shape, view)
