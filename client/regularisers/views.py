"""Two views of one history should give one state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from client.regularisers.base import Own, Regulariser, checked, cosine, from_right, shuffled


@dataclass(frozen=True)
class TwoViews(Regulariser):
    """weight · (1 − cos(h^A, h^B)) at the last position, A and B two views of the device's own sequence.

    Each view is, by chance, a crop (the latest ``crop``·n items or more), a mask (each item but the last
    hidden with chance ``mask``) or a reordering (within blocks of ``block``), as in CL4SRec. The
    agreement is not contrastive: a device has no other users as negatives, and the next-item loss keeps
    states apart. Reference: arXiv 2010.14395.
    """

    passes: ClassVar[int] = 2
    weight: float = 0.1
    crop: float = 0.5
    mask: float = 0.3
    block: int = 4

    def __post_init__(self) -> None:
        checked(self.weight, crop=self.crop, mask=self.mask)
        if self.block < 2:
            raise ValueError(f"block must be at least 2, given {self.block}")

    def __call__(self, own: Own) -> Tensor:
        agreement = cosine(self.view(own, own.noise[:3]), self.view(own, own.noise[3:]))
        last = (from_right(own.padding) == 0).to(agreement.dtype)  # [ℓ]
        return self.weight * (1 - agreement) * last

    def view(self, own: Own, noise: Tensor) -> Tensor:
        """The state [d] after one view; noise [3, ℓ]: which view, what it hides, how it reorders."""
        which = noise[0, -1]
        hide = torch.where(
            which < 1 / 3,
            cropped(own.padding, self.crop + (1 - self.crop) * noise[1, -1]),
            (which < 2 / 3) & masked(own.padding, noise[1], self.mask),
        )  # [ℓ]
        order = torch.where(
            which < 2 / 3,
            torch.arange(len(own.padding), device=own.padding.device),
            shuffled(own.padding, noise[2], self.block),
        )  # [ℓ]
        return encode_hidden(own, own.inputs[order], hide)[-1]


def cropped(padding: Tensor, share: Tensor) -> Tensor:
    """True for items before the latest ⌈share·n⌉ of n (one at least): bool [ℓ]."""
    kept = torch.ceil(share * (~padding).sum()).clamp(min=1)
    return ~padding & (from_right(padding) >= kept)


def masked(padding: Tensor, noise: Tensor, share: float) -> Tensor:
    """True for items drawn with chance ``share``, never the last: bool [ℓ]."""
    return ~padding & (noise < share) & (from_right(padding) > 0)


def encode_hidden(own: Own, inputs: Tensor, hide: Tensor) -> Tensor:
    """Hidden states [ℓ, d] of ``inputs`` with the items ``hide`` [ℓ] treated as padding."""
    return own.encode(torch.where(hide[:, None], 0.0, inputs), own.padding | hide)
