"""FMLP-Rec (Zhou et al. 2022, arXiv 2202.13556): learnable filters over ONE user's sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from common.models.parts import MixerStack


class CausalFilter(nn.Module):
    """y_t = Σ_{s ≤ t} w_{t−s} ∘ x_s: a filter of L taps for each of the d channels.

    The paper multiplies in the frequency domain, F⁻¹(W ∘ F(x)), which is the circular convolution with w =
    F⁻¹(W): it also mixes later items into y_t. That does no harm where the last position alone is trained;
    here all are, so that the taps are held themselves and none of them looks ahead. Padding counts as 0.
    """

    def __init__(self, dim: int, max_len: int) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.zeros(max_len, dim))

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        """x [L, d], padding bool [L] -> [L, d]."""
        length = len(x)
        x = torch.where(padding[:, None], 0.0, x)  # [L, d]
        before = torch.cat([torch.zeros_like(x[1:]), x])  # [2L − 1, d]
        mixed = self.taps[0] * x  # [L, d]
        for age in range(1, length):
            mixed = mixed + self.taps[age] * before[length - 1 - age : 2 * length - 1 - age]  # [L, d]
        return mixed


class FMLPRec(MixerStack):
    """Filters and feed-forward layers, each followed by a residual and a LayerNorm; no attention.

    positions: learned, as in the paper, or none.
    """

    def __init__(self, dim: int = 64, max_len: int = 50, blocks: int = 2, positions: str = "learned") -> None:
        super().__init__(dim, max_len, [CausalFilter(dim, max_len) for _ in range(blocks)], positions)
        self.config = {"dim": dim, "max_len": max_len, "blocks": blocks, "positions": positions}
