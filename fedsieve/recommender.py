"""A trained model as one PyTorch module."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import vmap

from common.errors import ConfigError


class Recommender(nn.Module):
    """Scores every item as the next of a history: s = E·h, h the encoder's last position.

    Parameters
    ----------
    encoder
        The sequence model of one user: ``encoder(rows [L, d], padding [L])`` -> hidden [L, d].
    items
        Item table E, float32 [N + 1, d]; row i is item number i, row 0 pads.
    max_len
        How many of the latest interactions the encoder reads.
    """

    def __init__(self, encoder: nn.Module, items: Tensor, max_len: int) -> None:
        super().__init__()
        self.encoder, self.max_len = encoder, max_len
        self.items = nn.Parameter(items)

    def forward(self, histories: Tensor, gaps: Tensor | None = None) -> Tensor:
        """Scores float32 [n, N + 1] after ``histories``; column 0 has no meaning.

        histories: int64 [n, L] item numbers, oldest first, padded with 0 on the left; of more than
        ``max_len`` the latest count. gaps: float32 [n, L], seconds since the item before, for a model that
        was trained with times; 0 at the first item. Raises ConfigError where such a model gets none.
        """
        timed = bool(getattr(self.encoder, "timed", False))
        if timed != (gaps is not None):
            wanted = "reads times: give gaps, seconds since the item before" if timed else "reads no times"
            raise ConfigError(f"gaps: the model {wanted}")
        histories = histories[:, -self.max_len :]  # [n, L]
        end = torch.tensor([histories.shape[1] - 1], device=histories.device)
        times: tuple[Tensor, ...] = ()
        if gaps is not None:
            read = gaps[:, -self.max_len :].clone()  # [n, L]
            read[:, 0] = 0  # none is known before the oldest that is read
            times = (read,)

        def last(rows: Tensor, padding: Tensor, *times: Tensor) -> Tensor:
            when = {"gaps": times[0]} if times else {}
            hidden: Tensor = self.encoder(rows, padding, positions=end, **when)  # [1, d]
            return hidden[0]

        hidden = vmap(last)(self.items[histories], histories == 0, *times)  # [n, d]
        return hidden @ self.items.T  # [n, N + 1]
