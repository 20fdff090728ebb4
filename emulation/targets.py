"""Which items are promoted and measured: from ids of the log, or a word, to numbers of the catalogue."""

from __future__ import annotations

import numpy as np
import torch

from attacks import build_attack
from common.config import RunConfig
from common.data import Dataset
from common.data.cut import training_counts
from common.errors import ConfigError
from common.items import PICKED, finder, name_of, with_measured, with_numbers
from common.seeding import generator


def with_targets(config: RunConfig, dataset: Dataset) -> RunConfig:
    """Resolve ``cold``, ``medium``, ``random`` and ids to ``#number``, and measure their exposure.

    Without an attack the same items are measured, so that a clean run shows their exposure by nature.
    Raises ConfigError for what is no item of the log and for more targets than there are such items.
    """
    wanted, ids = config.attack.targets, dataset.item_ids
    targets = (
        tuple(map(name_of, _pick(wanted, config.attack.target_count, dataset, config.seed)))
        if isinstance(wanted, str)
        else with_numbers("attack.targets", wanted, ids, PICKED)
    )
    if config.attack.name != "none":
        build_attack(config.attack.name, config.attack.params).with_items(
            finder(ids, f"attack.params: {config.attack.name}")
        )
    attack = config.attack.model_copy(update={"targets": targets})
    config = with_measured(config, ids)
    measured = config.eval.targets or targets
    told = {"targets": measured} | ({"times": dataset.cuts} if dataset.cuts else {})
    return config.model_copy(update={"attack": attack, "eval": config.eval.model_copy(update=told)})


def _pick(kind: str, wanted: int, dataset: Dataset, seed: int) -> tuple[int, ...]:
    """cold: among the least popular tenth; medium: the middle tenth; random: any. By training counts.

    The first of several is the one that is picked alone.
    """
    order = np.argsort(training_counts(dataset)[1:], kind="stable")
    n = len(order)
    tenth = max(1, n // 10)
    pool = {"cold": order[:tenth], "medium": order[(n - tenth) // 2 :][:tenth], "random": order}[kind]
    if wanted > len(pool):
        raise ConfigError(f"attack.target_count: {wanted}; there are {len(pool)} {kind} items")
    draw = generator(seed, "target")
    first = int(torch.randint(len(pool), (1,), generator=draw))
    others = [i for i in torch.randperm(len(pool), generator=draw).tolist() if i != first]
    return tuple(int(pool[i]) + 1 for i in (first, *others[: wanted - 1]))
