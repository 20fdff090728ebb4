"""A small federation to train: a catalogue of 30 items, histories of every awkward length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from client.cohort import Cohort
from common.config import ClientConfig, ModelConfig, TrainConfig
from common.data.types import Items
from common.models import initial
from common.tasks import GlobalModel, TrainTask

ITEMS, DIM, MAX_LEN = 30, 8, 10
LENGTHS = (0, 1, 2, 5, 9, 10, 11, 12, 25)
"""Histories of nothing, of no pair, and around L and L + 1 = 11."""

SLICE = (1, 3, 4, 7, 8, 11, 12, 15, 16, 19, 22, 25, 26, 30)


def model_config(**changes: Any) -> ModelConfig:
    base = {"dim": DIM, "max_len": MAX_LEN, "blocks": 2, "heads": 2, "dropout": 0.3}
    return ModelConfig.model_validate(base | changes)


def parameters(config: ModelConfig, seed: int = 0) -> GlobalModel:
    """A start with nothing at zero or one, so that no mistake hides behind a neutral value."""
    g = torch.Generator().manual_seed(seed)
    start, _ = initial(config, ITEMS, g)
    return replace(start, encoder=start.encoder + 0.2 * torch.randn(start.encoder.shape, generator=g))


def history(length: int, seed: int = 0) -> Items:
    rng = np.random.default_rng(1000 * seed + length)
    return rng.integers(1, ITEMS + 1, length).astype(np.int32)


def histories(lengths: Sequence[int] = LENGTHS, seed: int = 0) -> list[Items]:
    return [history(length, seed + i) for i, length in enumerate(lengths)]


def task(model: ModelConfig | None = None, seed: int = 5, **train: Any) -> TrainTask:
    """A round on the slice, or on all items with ``negatives="full"``."""
    config = model or model_config()
    train_config = TrainConfig.model_validate({"local_lr": 0.7, "window": "last"} | train)
    full = train_config.negatives == "full"
    items = torch.arange(1, ITEMS + 1) if full else torch.tensor(SLICE)
    g = torch.Generator().manual_seed(9)
    log_q = torch.zeros(len(items)) if full else (0.2 + 0.8 * torch.rand(len(items), generator=g)).log()
    return TrainTask(
        run="r",
        round=3,
        nonce=f"{seed:x}",
        model=parameters(config),
        items=items.to(torch.int32),
        log_q=log_q,
        devices=torch.arange(len(LENGTHS)),
        model_config=config,
        train_config=train_config,
        client_config=ClientConfig(),
        wire_dtype="float32",
    )


def cohort(what: TrainTask, lengths: Sequence[int] = LENGTHS, seed: int = 0) -> Cohort:
    """Devices 0, 1, … with one history a length."""
    return Cohort(what, range(len(lengths)), histories(lengths, seed), key=5)
