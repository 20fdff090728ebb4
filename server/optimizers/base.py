"""The contract of a server step: the aggregate as a pseudo-gradient, state in and state out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

State = Mapping[str, Tensor]
"""What an optimiser carries from round to round: named tensors, so that a checkpoint can hold it."""

Slots = dict[str, Tensor]
"""The moments and counters of one block; a 0-d tensor belongs to the block as a whole."""


@dataclass(frozen=True)
class ParameterUpdate:
    """A change of the global model: parameters after minus before.

    encoder  named tensors; each name is one block
    rows     float32 [K, d]  change of the item rows ``items`` (int32 [K], unique)
    """

    encoder: dict[str, Tensor]
    rows: Tensor
    items: Tensor


class Optimizer(Protocol):
    """A server step. Calling it never changes or aliases what it is given."""

    def init(self, encoder: Mapping[str, Tensor], table: Tensor) -> State:
        """The state before the first round, for these blocks and this item table [N + 1, d]."""
        ...

    def step(self, update: ParameterUpdate, state: State, lr: float) -> tuple[ParameterUpdate, State]:
        """The change to ADD to the model. An update is after − before, so it already points downhill."""
        ...


class Blockwise:
    """An optimiser that treats every named encoder tensor and the item table as one block each.

    The item table is sparse: a round moves the rows of its slice only. Moments and counters of
    other rows are left as they are (no decay while unseen), so a row's history counts the rounds in
    which the row was trained, and its bias correction counts the same rounds.
    """

    def open(self, block: Tensor, per_row: bool) -> Slots:
        """Fresh slots of a block; ``per_row`` asks for counters along the first dimension."""
        raise NotImplementedError

    def advance(self, update: Tensor, slots: Slots) -> tuple[Tensor, Slots]:
        """The direction of one block (before the rate) and its next slots."""
        raise NotImplementedError

    def init(self, encoder: Mapping[str, Tensor], table: Tensor) -> State:
        state = {f"table/{slot}": value for slot, value in self.open(table, per_row=True).items()}
        for name, block in encoder.items():
            for slot, value in self.open(block, per_row=False).items():
                state[f"encoder/{slot}/{name}"] = value
        return state

    def step(self, update: ParameterUpdate, state: State, lr: float) -> tuple[ParameterUpdate, State]:
        new = dict(state)
        encoder = {}
        of_block = self._slots(state)
        for name, block in update.encoder.items():
            direction, slots = self.advance(block, of_block.get(name, {}))
            encoder[name] = lr * direction
            new |= {f"encoder/{slot}/{name}": value for slot, value in slots.items()}
        rows = self._table(update, state, new)
        return ParameterUpdate(encoder, lr * rows, update.items), new

    @staticmethod
    def _slots(state: State) -> dict[str, Slots]:
        """The slots of each encoder block, by its name."""
        found: dict[str, Slots] = {}
        for key in state:
            if key.startswith("encoder/"):
                _, slot, name = key.split("/", 2)
                found.setdefault(name, {})[slot] = state[key]
        return found

    def _table(self, update: ParameterUpdate, state: State, new: dict[str, Tensor]) -> Tensor:
        if update.items.numel() == 0:
            return update.rows
        index = update.items.long()
        whole = {key.removeprefix("table/"): state[key] for key in state if key.startswith("table/")}
        slots = {slot: value[index] if value.dim() else value for slot, value in whole.items()}
        direction, slots = self.advance(update.rows, slots)
        for slot, value in slots.items():
            new[f"table/{slot}"] = whole[slot].index_copy(0, index, value) if value.dim() else value
        return direction


def debias(beta: float, count: Tensor, like: Tensor) -> Tensor:
    """1 − β^count in ``like``'s dtype, shaped to broadcast over it (float64 inside: 1 − .999 cancels)."""
    correction = 1 - torch.full((), beta, dtype=torch.float64, device=count.device) ** count
    return correction.to(like.dtype).reshape(count.shape + (1,) * (like.dim() - count.dim()))


def schedule(lr: float, round_: int, rounds: int, warmup: int, decay_from: float) -> float:
    """The rate of round ``round_`` (from 1): linear warm-up, constant, then linear towards zero.

    lr · min(1, round/warmup) · min(1, (rounds − round + 1)/((1 − decay_from)·rounds)): the last round
    still moves. ``decay_from=1`` keeps the rate.
    """
    rise = min(1.0, round_ / warmup) if warmup else 1.0
    tail = (1.0 - decay_from) * rounds
    return lr * rise * (min(1.0, (rounds - round_ + 1) / tail) if tail > 0 else 1.0)
