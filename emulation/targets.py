"""Which items are promoted and measured: from ``cold``, ``medium`` or ``random`` to item numbers."""

from __future__ import annotations

import numpy as np
import torch

from common.config import RunConfig
from common.data import Dataset
from common.data.cut import parts, training
from common.errors import ConfigError
from common.seeding import generator


def with_targets(config: RunConfig, dataset: Dataset) -> RunConfig:
    """Resolve ``cold``, ``medium`` or ``random`` to items, and measure their exposure.

    Without an attack the same items are measured, so that a clean run shows their exposure by nature.
    Raises ConfigError for numbers outside the catalogue and for more targets than there are such items.
    """
    wanted = config.attack.targets
    numbers = (
        _pick(wanted, config.attack.target_count, dataset, config.seed) if isinstance(wanted, str) else wanted
    )
    for key, items in (("attack.targets", numbers), ("eval.targets", config.eval.targets)):
        if bad := [n for n in items if n > dataset.num_items]:
            raise ConfigError(f"{key}: item {bad[0]}; valid: 1 to {dataset.num_items}")
        if len(set(items)) < len(items):
            raise ConfigError(f"{key}: an item appears more than once in {list(items)}")
    if config.eval.group > dataset.num_items:
        raise ConfigError(f"eval.group: item {config.eval.group}; valid: 0 (off) to {dataset.num_items}")
    attack = config.attack.model_copy(update={"targets": numbers})
    measured = config.eval.targets or numbers
    told = {"targets": measured} | ({"times": dataset.cuts} if dataset.cuts else {})
    return config.model_copy(update={"attack": attack, "eval": config.eval.model_copy(update=told)})


def _pick(kind: str, wanted: int, dataset: Dataset, seed: int) -> tuple[int, ...]:
    """cold: among the least popular tenth; medium: the middle tenth; random: any. By training counts.

    The first of several is the one that is picked alone.
    """
    counts = np.zeros(dataset.num_items + 1, dtype=np.int64)
    for part in training(dataset.sequences, parts(dataset)).chunks():
        counts += np.bincount(part.flat(), minlength=len(counts))
    counts = counts[1:]
    order = np.argsort(counts, kind="stable")
    n = len(order)
    tenth = max(1, n // 10)
    pool = {"cold": order[:tenth], "medium": order[(n - tenth) // 2 :][:tenth], "random": order}[kind]
    if wanted > len(pool):
        raise ConfigError(f"attack.target_count: {wanted}; there are {len(pool)} {kind} items")
    draw = generator(seed, "target")
    first = int(torch.randint(len(pool), (1,), generator=draw))
    others = [i for i in torch.randperm(len(pool), generator=draw).tolist() if i != first]
    return tuple(int(pool[i]) + 1 for i in (first, *others[: wanted - 1]))
