"""Bucketing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from common.checks import count
from server.aggregators.base import Round
from server.aggregators.pre.base import Mixer


@dataclass(frozen=True)
class Bucketing(Mixer):
    """A random permutation cut into buckets of ``size``; each bucket becomes its mean.

    size 0 takes s = ⌊(n − 1)/2f⌋, the most that leaves an honest majority: more than 2f buckets. The last
    bucket may be smaller. The bound f stays: f devices spoil at most f buckets. Reference: arXiv 2006.09365.
    """

    size: int = 2

    name: ClassVar[str] = "bucketing"

    def __post_init__(self) -> None:
        count(0, size=self.size)

    def left(self, n: int, byzantine: int) -> int:
        return -(-n // self._size(n, byzantine))

    def _size(self, n: int, byzantine: int) -> int:
        if self.size:
            return self.size
        return max(1, (n - 1) // (2 * byzantine)) if byzantine else 1

    def matrix(self, products: Tensor, round_: Round) -> Tensor:
        n = len(products)
        order = torch.randperm(n, generator=round_.generator)
        bucket = torch.empty_like(order)
        bucket[order] = torch.arange(n) // self._size(n, round_.byzantine)  # device -> bucket
        member = torch.nn.functional.one_hot(bucket.to(products.device)).T.to(products)  # [m, n]
        return member / member.sum(dim=1, keepdim=True)
