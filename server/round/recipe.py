"""What a config asks of the strategy: which parts, and which of them cannot be together."""

from __future__ import annotations

import math

from common.codes import ONE_SLICE, OWN_ROWS
from common.config import RunConfig
from common.errors import ConfigError, RunError
from common.registry import Component
from server.aggregators import Aggregator, build_aggregator
from server.constraints import Chain, build_constraints
from server.constraints.exposure import ExposureCap
from server.constraints.popularity import PopularityCap

ROUNDING = 1e-9
""".07 · 100 is 7.000000000000001 in floats, and seven devices."""


def constraints_of(config: RunConfig) -> tuple[Component, ...]:
    """Those that ``strategy.constraints`` names, or with ``auto`` those of the rule's own recipe.

    None of its own with code rows: a constraint of a recipe holds down the row of one item.
    """
    strategy = config.strategy
    if strategy.constraints != "auto":
        return strategy.constraints
    if config.model.code_books:
        return ()
    return tuple(Component(name=name) for name in build_aggregator(strategy.aggregator).constraints)


def bound(config: RunConfig, devices: int) -> int:
    """f from ``strategy.byzantine``: a number, or a share of the devices that replied, rounded up."""
    claim = config.strategy.byzantine
    return math.ceil(claim * devices - ROUNDING) if claim < 1 else int(claim)


def check_parts(config: RunConfig, rule: Aggregator, num_items: int | None = None) -> None:
    """Raise ConfigError before the run for parts that cannot be together; ``rule`` with its pre-aggregators.

    num_items: None where no log was read yet.
    """
    check_bound(rule, config)
    check_slices(rule, config, num_items)
    check_codes(config, build_constraints(constraints_of(config)))


def check_codes(config: RunConfig, constraints: Chain) -> None:
    """Raise ConfigError before the run for what needs a row of its own for each item."""
    if not config.model.code_books:
        return
    if config.train.negatives == "device":
        raise ConfigError(f"train.{OWN_ROWS}")
    if config.train.slices > 1:
        raise ConfigError(f"train.{ONE_SLICE}")
    if config.client.decoys:
        raise ConfigError(
            f"client.decoys is {config.client.decoys}: a decoy is one row, and with model.code_books an item "
            f"is {config.model.code_books}; expected 0"
        )
    for component, part in zip(constraints_of(config), constraints.parts, strict=True):
        if isinstance(part, ExposureCap | PopularityCap):
            raise ConfigError(
                f"strategy.constraints: {component.name!r} holds down the row of one item, and with "
                "model.code_books others share it; constraints on rows work, as row_norm_cap"
            )


def check_root(rule: Aggregator, config: RunConfig) -> None:
    """Raise ConfigError before the run when the rule has nothing to measure devices against."""
    if rule.rooted and not config.strategy.trusted_nodes:
        raise ConfigError(
            f"strategy.aggregator {config.strategy.aggregator.name!r} needs strategy.trusted_nodes: the ids "
            "of nodes of your own that hold a public log, as in [8139447310162451970]"
        )


def check_bound(rule: Aggregator, config: RunConfig) -> None:
    """Raise ConfigError before the run when even a full round is too small for the rule."""
    slices, devices = config.train.slices, config.train.devices_per_round
    f = bound(config, devices)
    if config.strategy.byzantine >= 1 and f >= devices:  # also where the rule does not ask for f
        raise ConfigError(
            f"strategy.byzantine = {f} of train.devices_per_round = {devices}: at most {devices - 1}"
        )
    each = devices // slices  # that train a slice, on average
    f = bound(config, each)
    try:
        least = rule.least(f)
    except RunError as error:
        raise ConfigError(f"strategy.pre: {error}") from error
    if each < least:
        over = f" over train.slices = {slices}" if slices > 1 else ""
        raise ConfigError(
            f"strategy.aggregator {config.strategy.aggregator.name!r} with strategy.byzantine = {f} of "
            f"train.devices_per_round = {devices}{over}: it needs at least {least} devices"
            + " a slice"
            * (slices > 1)
        )


def check_slices(rule: Aggregator, config: RunConfig, num_items: int | None) -> None:
    """Raise ConfigError before the run for what cannot be with several slices."""
    slices, noise = config.train.slices, config.client.noise
    if slices == 1:
        return
    if not rule.sliced:
        raise ConfigError(
            f"train.slices = {slices}: strategy.aggregator {config.strategy.aggregator.name!r} cannot judge "
            "encoder and rows apart; expected 1, or a rule with any slices in `fedsieve list aggregators`"
        )
    if noise:
        raise ConfigError(
            f"train.slices = {slices} beside client.noise = {noise:g}: which slice a device takes has no "
            "noise, so that its ε would not hold; expected 1"
        )
    if num_items is not None and slices > num_items:
        raise ConfigError(f"train.slices = {slices} of {num_items} items: at most {num_items}")
