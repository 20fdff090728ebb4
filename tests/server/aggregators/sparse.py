"""Rounds of the classic protocol as real devices make them: own negatives, own rows, their union, a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from client.cohort import Cohort
from common.config import ClientConfig, ModelConfig, TrainConfig
from common.data.types import Items
from common.models import initial
from common.seeding import generator
from common.tasks import TrainTask
from common.updates import DeviceUpdates


def classic_round(
    sequences: Sequence[Items], num_items: int, negatives: int, dim: int = 4, seed: int = 0
) -> DeviceUpdates:
    """The updates of devices with these histories under ``negatives: device``."""
    config = ModelConfig(dim=dim, max_len=10, blocks=1, dropout=0.0)
    model, _ = initial(config, num_items, generator(seed, "model"))
    task = TrainTask(
        run="sparse",
        round=1,
        nonce="00",
        model=model,
        items=torch.arange(1, num_items + 1, dtype=torch.int32),
        log_q=torch.zeros(num_items),
        devices=torch.arange(len(sequences)),
        model_config=config,
        train_config=TrainConfig(negatives="device", device_negatives=negatives, local_steps=2, local_lr=0.5),
        client_config=ClientConfig(),
    )
    return Cohort(task, range(len(sequences)), sequences, key=5).train()


def like_beauty(n: int = 16, num_items: int = 1500, seed: int = 0) -> list[Items]:
    """Histories of 4 to 9 items of a flat catalogue: hardly two devices share one, as on Amazon Beauty."""
    g = np.random.default_rng(seed)
    popularity = 1.0 / (20 + np.arange(num_items)) ** 0.5
    lengths = g.integers(4, 10, n)
    shares = popularity / popularity.sum()
    return [g.choice(num_items, size=k, replace=False, p=shares).astype(np.int32) + 1 for k in lengths]
