"""Fang's attack on the trimmed mean: just outside the honest range, against the honest direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attacks.base import Attack, View
from attacks.estimates import known_honest, moments, send
from common.updates import DeviceUpdates


@dataclass(frozen=True)
class FangTrmean(Attack):
    """u_j ~ μ_j − sign(μ_j)·σ_j·U(low, high), anew for each coordinate and device.

    Fang et al. 2020 (arXiv 1911.11815), trimmed-mean and median attack with partial knowledge: the honest
    range is not seen, so [max, 2 max] becomes 3 to 4 deviations of the attackers' own honest updates. With
    one device σ = 0 and the update is honest. With ``knowledge: full`` the range is seen and the values lie
    just outside it, between it and twice (if it has the other sign: half) of its end.
    """

    low: float = 3.0
    high: float = 4.0

    kind: ClassVar[str] = "model"
    reference: ClassVar[str] = "arXiv 1911.11815"
    full: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(f"0 <= low <= high is needed, given {self.low} and {self.high}")

    def poison(self, updates: DeviceUpdates, view: View) -> DeviceUpdates:
        own = known_honest(updates, view)  # [m, D]
        if not len(own):
            return updates
        mean, std = moments(own)
        drawn = torch.rand(len(updates), len(mean), generator=view.generator).to(mean)  # [n, D]
        if view.honest is not None:
            return send(updates, beyond(own, mean, drawn))
        times = self.low + (self.high - self.low) * drawn
        return send(updates, mean - mean.sign() * std * times)


def beyond(own: Tensor, mean: Tensor, drawn: Tensor) -> Tensor:
    """Values [n, D] past the honest end against sign(μ), ``drawn`` [n, D] of the way to the far end.

    From max m: to 2m if m > 0, else to m/2; from min m: to 2m if m < 0, else to m/2.
    """
    low, high = own.amin(dim=0), own.amax(dim=0)  # [D]
    end = torch.where(mean > 0, low, high)  # [D]
    outwards = torch.where(mean > 0, end < 0, end > 0)
    return end * (1 + drawn * torch.where(outwards, 1.0, -0.5))
