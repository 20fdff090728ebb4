"""Whose a device is, where nodes claim the same numbers: pure functions of sorted numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.tasks import Enrolment


def within(values: Tensor, ordered: Tensor) -> Tensor:
    """Which of ``values`` [m] are among ``ordered`` [n], which ascend: bool [m]. O(m·log n)."""
    if not len(ordered):
        return torch.zeros_like(values, dtype=torch.bool)
    place = torch.searchsorted(ordered, values).clamp_(max=len(ordered) - 1)
    return ordered[place] == values


def holders(held: Sequence[Tensor], claims: Sequence[Tensor], most: int) -> list[Tensor]:
    """Who had each number of each claim before it: int64 [m] each, a place in ``[*held, *claims]``; −1: none.

    held: numbers int64 that each owner has already, claims: int64 [m], unique. Of a claim the first ``most``
    numbers count against later ones. O(n·log n) for n numbers in all.
    """
    if not claims:
        return []
    parts = [*held, *(claim[:most] for claim in claims)]
    part = torch.repeat_interleave(torch.arange(len(parts)), torch.tensor([len(p) for p in parts]))  # [n]
    numbers, order = torch.cat(parts).sort(stable=True)  # equal numbers: who comes first has it
    sizes = torch.tensor([len(claim) for claim in claims])
    own = torch.repeat_interleave(torch.arange(len(claims)), sizes) + len(held)  # [m]
    if not len(numbers):
        return [torch.full_like(claim, -1) for claim in claims]
    claimed = torch.cat(list(claims))  # [m]
    place = torch.searchsorted(numbers, claimed).clamp_(max=len(numbers) - 1)  # [m], the first of equal ones
    first = part[order[place]]  # [m]
    before = (numbers[place] == claimed) & (first < own)
    return list(torch.split(torch.where(before, first, -1), sizes.tolist()))


def only(enrolment: Enrolment, kept: Tensor) -> Enrolment:
    """The devices ``kept`` bool [m]; all of them are the enrolment itself."""
    if bool(kept.all()):
        return enrolment
    return Enrolment(enrolment.devices[kept], enrolment.history[kept])
