"""Parameters as one flat vector in a fixed, named order, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layout:
    """Names and shapes of an encoder's parameters, in the order of ``named_parameters``."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> list[int]:
        return [math.prod(shape) for shape in self.shapes]

    @property
    def total(self) -> int:
        return sum(self.sizes)

    def flatten(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Join tensors [..., *shape] into [..., P]; leading dimensions are kept."""
        parts = [
            parameters[name].reshape(*_lead(parameters[name], shape), -1)
            for name, shape in zip(self.names, self.shapes, strict=True)
        ]
        return torch.cat(parts, dim=-1)

    def unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        """Cut [..., P] into named views [..., *shape]."""
        lead = flat.shape[:-1]
        pieces = torch.split(flat, self.sizes, dim=-1)
        return {
            name: piece.reshape((*lead, *shape))
            for name, shape, piece in zip(self.names, self.shapes, pieces, strict=True)
        }


def _lead(tensor: Tensor, shape: tuple[int, ...]) -> torch.Size:
    return tensor.shape[: tensor.dim() - len(shape)]


def layout_of(module: nn.Module) -> Layout:
    """The layout of a module's parameters."""
    named = [(name, tuple(p.shape)) for name, p in module.named_parameters()]
    return Layout(tuple(n for n, _ in named), tuple(s for _, s in named))
