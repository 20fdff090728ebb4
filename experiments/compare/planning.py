"""Cells with their logs, targets and keys: what a grid will compute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.config import DataConfig, RunConfig
from common.data import Dataset
from common.errors import ConfigError
from emulation.federation import open_log
from emulation.targets import with_targets
from experiments.compare.cells import Cell
from experiments.compare.keys import cell_key, data_digest
from experiments.compare.labels import data_label


@dataclass(frozen=True)
class Planned:
    """A cell with its resolved targets, its key and the digest of its log."""

    key: str
    data: str
    config: RunConfig
    labels: Mapping[str, Any]

    def title(self, names: Iterable[str]) -> str:
        """The labels called ``names`` in a few words."""
        shown = {"malicious_share": "{:.0%}", "seed": "seed {}"}
        return " · ".join(shown.get(name, "{}").format(self.labels[name]) for name in names)


class Datasets:
    """Every log of a grid, read once."""

    def __init__(self) -> None:
        self._known: dict[DataConfig, tuple[Dataset, str]] = {}

    def get(self, config: RunConfig) -> tuple[Dataset, str]:
        """The log of a config and its digest."""
        if config.data not in self._known:
            dataset = open_log(config)
            self._known[config.data] = dataset, data_digest(dataset)
        return self._known[config.data]

    def logs(self) -> dict[str, tuple[Dataset, str]]:
        """Every log that was asked for and its digest, by its label."""
        return {data_label(data): found for data, found in self._known.items()}


def plan(cells: Iterable[Cell], datasets: Datasets) -> list[Planned]:
    """Cells with their targets resolved; of two that are the same computation the first stays."""
    found: dict[str, Planned] = {}
    for cell in cells:
        dataset, digest = datasets.get(cell.config)
        config = with_targets(cell.config, dataset)
        key = cell_key(config, digest)
        found.setdefault(key, Planned(key, digest, config, cell.labels))
    if not found:
        raise ConfigError("the grid has no cells: one of its lists is empty")
    return list(found.values())
