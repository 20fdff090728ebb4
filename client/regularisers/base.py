"""What a term on one device reads, and the contract of a term."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

CHANNELS = 6
"""Rows of noise that a local step draws for a device where a term asks for chance."""


@dataclass(frozen=True)
class Own:
    """ONE device in one local step; under ``vmap`` every tensor has the devices in front.

    hidden      [ℓ, d]  its hidden states, with dropout
    anchor      [ℓ, d]  those of the global model on the same sequence, without dropout
    padding     [ℓ]     True where there is no item (on the left)
    inputs      [ℓ, d]  rows of its items, as it has changed them
    rows        [K, d]  rows of the slice, as it has changed them; ``start``: as they were sent
    target      [ℓ]     place of the next item in the slice, valid where ``counted``
    counted     [ℓ]     whether there is a next item and it is in the slice
    candidates  [K]     rows that the device may score
    noise       [CHANNELS, ℓ]  uniform in [0, 1); zeros if no term asks for chance
    gaps        [ℓ]     seconds since the item before; zeros if no term asks or the log has no times
    encode      (inputs [ℓ, d], padding [ℓ]) -> hidden [ℓ, d] by the device's model, same dropout
    loss        (places in the slice, int64 [ℓ]) -> the run's loss of each hidden state with that answer [ℓ]
    """

    hidden: Tensor
    anchor: Tensor
    padding: Tensor
    inputs: Tensor
    rows: Tensor
    start: Tensor
    target: Tensor
    counted: Tensor
    candidates: Tensor
    noise: Tensor
    gaps: Tensor
    encode: Callable[[Tensor, Tensor], Tensor]
    loss: Callable[[Tensor], Tensor]


class Regulariser:
    """own -> a penalty of each position [ℓ], without control flow that looks at values.

    Padded positions are masked by the caller, and the sum is divided by the fixed L like the loss.
    passes: how often the term runs the model; a term that does may use ``own.noise``. ahead: whether it asks
    a state for items further on than the next, which a model must not have seen. moves_all: whether it moves
    devices without a next item in the slice, too.
    """

    passes: ClassVar[int] = 0
    ahead: ClassVar[bool] = False
    moves_all: ClassVar[bool] = True

    @property
    def timed(self) -> bool:
        """Whether the term reads ``own.gaps``."""
        return False

    def __call__(self, own: Own) -> Tensor:
        raise NotImplementedError


def from_right(padding: Tensor) -> Tensor:
    """0 for the last position, 1 for the one before, …: int64 [ℓ]."""
    length = padding.shape[0]
    return torch.arange(length - 1, -1, -1, device=padding.device)


def shuffled(padding: Tensor, noise: Tensor, block: int) -> Tensor:
    """A permutation [ℓ] that shuffles items within blocks of ``block`` positions, counted from the last.

    Up to the end of a block a sequence holds the same items as before. Padding stays on the left.
    """
    # One key a position: the block, then padding before items, then chance.
    key = -4.0 * (from_right(padding) // block) + (~padding).to(noise.dtype) + noise  # [ℓ]
    return torch.argsort(key)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """cos of two vectors [d]; smooth at zero, where a device without items stands."""
    return (a * b).sum() / ((a.square().sum() + 1e-8) * (b.square().sum() + 1e-8)).sqrt()


def checked(weight: float, **shares: float) -> None:
    """Raise ValueError unless the weight is finite and not negative and every share lies in [0, 1]."""
    if not 0 <= weight < float("inf"):
        raise ValueError(f"weight must be finite and at least 0, given {weight}")
    for name, value in shares.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], given {value}")
