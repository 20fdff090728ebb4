"""Which labels a data poisoner may give: only rows that the device trains count in its loss."""

from __future__ import annotations

import torch
from torch import Tensor

from attacks.base import View
from client.batch import Batch


def choices(batch: Batch, view: View) -> Tensor:
    """bool [n, K]: places in the slice; with ``negatives: device`` those of the device's own rows.

    A batch does not say whose it is, so a device is known by its window; those with the same window get
    what all of them hold. A window that is nobody's has no choices.
    """
    rows = view.cohort.rows
    if rows.candidates is None:
        return torch.ones(len(batch), len(rows.items), dtype=torch.bool, device=rows.items.device)
    held: dict[tuple[int, ...], Tensor] = {}
    for items, own in zip(view.cohort.windows, rows.candidates, strict=True):
        window = tuple(items.tolist())
        held[window] = held[window] & own if window in held else own
    nothing = torch.zeros_like(rows.items, dtype=torch.bool)
    found = []
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        window = (*(item for item in inputs if item), *targets[-1:])
        found.append(held.get(window, nothing))
    return torch.stack(found)
