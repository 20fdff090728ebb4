"""Pushing the target's row: how a poisonous gradient gets the size and the place of an upload."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from common.tasks import TrainTask
from common.updates import DeviceUpdates, interaction_sizes

TINY = torch.finfo(torch.float32).tiny


def interaction_size(updates: DeviceUpdates) -> Tensor:
    """c_u, float32 [n]: about the size of one interaction's row update (common/updates.py).

    0 for a device with nothing to predict: its upload stays empty, as any other would be refused for its
    coverage.
    """
    return interaction_sizes(updates.row_norms).float()


def interaction_step(task: TrainTask) -> float:
    """E·lr/L: the factor that the gradient of one interaction's loss has in an update of E local steps."""
    train = task.train_config
    return train.local_steps * train.local_lr / task.model_config.max_len


def push(updates: DeviceUpdates, slots: list[int], directions: Tensor, boost: float) -> DeviceUpdates:
    """g_u,slot := boost · c_u · d/‖d‖ for each slot and its direction d; encoder and other rows stay.

    directions [m, d], the same for all devices, or [n, m, d]: minus the gradient of the attack's loss,
    since an update is parameters after training minus before. A zero direction gives a zero row.
    """
    size = boost * interaction_size(updates)  # [n]
    unit = directions / directions.norm(dim=-1, keepdim=True).clamp(min=TINY)
    rows = updates.rows.clone()  # [n, K, d]
    rows[:, slots] = size[:, None, None] * unit
    return replace(updates, rows=rows)
