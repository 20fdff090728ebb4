"""The strategy for one's own ServerApp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.config import RunConfig
from fedsieve.settings import Part, configured, joined
from server.aggregators import Aggregator
from server.constraints import Constraint
from server.optimizers import Optimizer
from server.records.report import Listener
from server.strategy import RobustStrategy as _Strategy


class RobustStrategy(_Strategy):
    """A Flower ``Strategy``: admission, aggregation, constraints and server step, then evaluation.

    In a ServerApp: ``RobustStrategy(num_items=1682, aggregator=Sieve()).start(grid)``. The nodes run
    ``client.app`` (docs/deployment.md).

    Parameters
    ----------
    num_items
        Items of the catalogue, numbered from 1.
    aggregator, optimizer, constraints
        Names, ``{"name": …, parameter: …}`` or objects of :mod:`fedsieve.aggregators`,
        :mod:`fedsieve.optimizers` and :mod:`fedsieve.constraints`; by default those of :class:`RunConfig`.
    rounds, devices, model, seed
        As in :func:`fedsieve.run`.
    config
        Settings to start from.
    listeners
        As in :func:`fedsieve.run`.
    settings, more
        Any other setting by its dotted name.

    Raises
    ------
    ConfigError
        A setting that does not exist (with the nearest) or has a wrong value.
    """

    def __init__(
        self,
        *,
        num_items: int,
        aggregator: str | Part | Aggregator | None = None,
        optimizer: str | Part | Optimizer | None = None,
        constraints: Sequence[str | Part | Constraint] | None = None,
        rounds: int | None = None,
        devices: int | None = None,
        model: str | Part | None = None,
        seed: int | None = None,
        config: RunConfig | None = None,
        listeners: Sequence[Listener] = (),
        settings: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        short = {
            "aggregator": aggregator,
            "optimizer": optimizer,
            "constraints": constraints,
            "rounds": rounds,
            "devices": devices,
            "model": model,
            "seed": seed,
        }
        found = configured(config or RunConfig(), joined(short, settings, more))
        super().__init__(found, num_items, listeners)
