"""Bandwagon: some popular items among random ones, then the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.base import View
from attacks.shilling import Shilling, check_shares, draw, innocent, popular


@dataclass(frozen=True)
class Bandwagon(Shilling):
    """x_t ~ U(popular) with probability ``mixed``, else U(catalogue without the targets); y_t := target.

    Popular: the ``top`` share of the catalogue by the attacker's own devices. The bandwagon attack
    (Mobasher et al. 2007, doi 10.1145/1278366.1278372; 10 % of the fillers in arXiv 2101.02644).
    """

    top: float = 0.1
    mixed: float = 0.1

    reference: ClassVar[str] = "doi 10.1145/1278366.1278372"

    def __post_init__(self) -> None:
        check_shares(top=self.top, mixed=self.mixed)

    def fillers(self, shape: torch.Size, view: View) -> Tensor:
        known = torch.rand(tuple(shape), generator=view.generator) < self.mixed  # [n, ℓ]
        famous = draw(popular(view, self.top), shape, view)
        known = known.to(famous.device)
        return torch.where(known, famous, draw(innocent(view), shape, view))
