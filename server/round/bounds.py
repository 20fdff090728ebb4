"""What a rule needs of a run, checked before the run."""

from __future__ import annotations

import math

from common.config import RunConfig
from common.errors import ConfigError, RunError
from server.aggregators import Aggregator


def bound(config: RunConfig, devices: int) -> int:
    """f from ``strategy.byzantine``: a number, or a share of the devices that replied, rounded up."""
    claim = config.strategy.byzantine
    return math.ceil(claim * devices) if claim < 1 else int(claim)


def check_root(rule: Aggregator, config: RunConfig) -> None:
    """Raise ConfigError before the run when the rule has nothing to measure devices against."""
    if rule.rooted and not config.strategy.trusted_nodes:
        raise ConfigError(
            f"strategy.aggregator {config.strategy.aggregator.name!r} needs strategy.trusted_nodes: the ids "
            "of nodes of your own that hold a public log, as in [8139447310162451970]"
        )


def check_bound(rule: Aggregator, config: RunConfig) -> None:
    """Raise ConfigError before the run when even a full round is too small for the rule."""
    devices = config.train.devices_per_round
    f = bound(config, devices)
    if config.strategy.byzantine >= 1 and f >= devices:  # also where the rule does not ask for f
        raise ConfigError(
            f"strategy.byzantine = {f} of train.devices_per_round = {devices}: at most {devices - 1}"
        )
    try:
        least = rule.least(f)
    except RunError as error:
        raise ConfigError(f"strategy.pre: {error}") from error
    if devices < least:
        raise ConfigError(
            f"strategy.aggregator {config.strategy.aggregator.name!r} with strategy.byzantine = {f} of "
            f"train.devices_per_round = {devices}: it needs at least {least} devices"
        )
