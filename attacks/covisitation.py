"""Co-visitation: the target before and after every popular item."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from attacks.base import View
from attacks.shilling import Shilling, check_shares, draw, popular, trained_targets
from client.batch import Batch


@dataclass(frozen=True)
class Covisitation(Shilling):
    """s = (…, p, target, p′, target): every second item is the target, the others popular; a true history.

    Counted from the end, where the target stands, so that inputs and next items agree: p is followed
    by the target and the target by p′. p ~ U(the ``top`` share of the catalogue by own devices). Fake
    co-visitation (Yang et al. 2017) as it is used on sequences (Yue et al. 2021, arXiv 2109.01165).
    """

    top: float = 0.1

    reference: ClassVar[str] = "arXiv 2109.01165"

    def __post_init__(self) -> None:
        check_shares(top=self.top)

    def fillers(self, shape: torch.Size, view: View) -> Tensor:
        return draw(popular(view, self.top), shape, view)

    def relabel(self, batch: Batch, view: View) -> Batch:
        targets = trained_targets(view)
        if not targets:
            return batch
        n, length = batch.inputs.shape
        walk = self.fillers(torch.Size((n, length + 1)), view)  # [n, ℓ + 1]
        back = torch.arange(length, -1, -1, device=walk.device)  # [ℓ + 1], 0 at the end
        turns = torch.tensor(targets, device=walk.device)[back // 2 % len(targets)]  # [ℓ + 1]
        walk = torch.where(back % 2 == 0, turns, walk)
        return replace(
            batch,
            inputs=torch.where(batch.inputs > 0, walk[:, :-1], 0),
            targets=torch.where(batch.targets > 0, walk[:, 1:], 0),
        )
