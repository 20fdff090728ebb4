"""What a term on one device reads, and the contract of a term."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

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
    rows        [K, d]  rows of the slice, as it has changed them
    target      [ℓ]     place of the next item in the slice, valid where ``counted``
    counted     [ℓ]     whether there is a next item and it is in the slice
    candidates  [K]     rows that the device may score
    noise       [CHANNELS, ℓ]  uniform in [0, 1); zeros if no term asks for chance
    encode      (inputs [ℓ, d], padding [ℓ]) -> hidden [ℓ, d] by the device's model, same dropout
    loss        (places in the slice, int64 [ℓ]) -> the run's loss of each hidden state with that answer [ℓ]
    held        [K]     rows of items in its window
    """

    hidden: Tensor
    anchor: Tensor
    padding: Tensor
    inputs: Tensor
    rows: Tensor
    target: Tensor
    counted: Tensor
    candidates: Tensor
    noise: Tensor
    encode: Callable[[Tensor, Tensor], Tensor]
    loss: Callable[[Tensor], Tensor]
    held: Tensor


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

    def __call__(self, own: Own) -> Tensor:
        raise NotImplementedError


def checked(weight: float) -> None:
    """Raise ValueError unless the weight is finite and not negative."""
    if not 0 <= weight < float("inf"):
        raise ValueError(f"weight must be finite and at least 0, given {weight}")
