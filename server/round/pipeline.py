"""One round on the server, without a network: combination → constraints → server step."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from common.codes import ONE_SLICE, OWN_ROWS
from common.config import RunConfig
from common.device import CPU
from common.errors import ConfigError, RunError
from common.models import Layout, initial, interaction_length
from common.registry import Component
from common.seeding import generator
from common.tasks import GlobalModel
from server.aggregators import Aggregator, Round, build_aggregator
from server.aggregators.by_slice import BySlice
from server.aggregators.pre import with_pre
from server.constraints import Chain, build_constraints
from server.constraints.exposure import ExposureCap
from server.constraints.popularity import PopularityCap
from server.optimizers import Optimizer, ParameterUpdate, build_optimizer, schedule
from server.round.admission import Admitted
from server.round.evidence import gather, trusted_updates
from server.round.popularity import estimate, marks, observe, of_items
from server.round.state import ServerState, no_counts, server_key


@dataclass(frozen=True)
class Step:
    """The state after a round, each device's weight (None where a rule has none), and figures."""

    state: ServerState
    weights: Tensor | None
    figures: dict[str, float]


@dataclass(frozen=True)
class Pipeline:
    """The parts of the strategy that a config names."""

    config: RunConfig
    layout: Layout
    start: GlobalModel
    aggregator: Aggregator
    optimizer: Optimizer
    constraints: Chain

    @staticmethod
    def build(config: RunConfig, num_items: int, device: torch.device = CPU) -> Pipeline:
        """The pipeline with its start on ``device``. Raises ConfigError for what no registry knows."""
        rule = with_pre(build_aggregator(config.strategy.aggregator), config.strategy.pre)
        check_bound(rule, config)
        check_root(rule, config)
        check_slices(rule, config, num_items)
        start, layout = initial(config.model, num_items, generator(config.seed, "model"))  # drawn on the CPU
        if config.train.slices > 1:
            rule = BySlice(rule, partial(bound, config))
        constraints = build_constraints(constraints_of(config))
        check_codes(config, constraints)
        optimizer = build_optimizer(config.strategy.optimizer)
        return Pipeline(config, layout, start.to(device), rule, optimizer, constraints)

    def init(self) -> ServerState:
        """The state before the first round."""
        counts = no_counts(self.start.num_items, self.start.table.device)
        return ServerState(
            round=0,
            model=self.start,
            optimizer=self.optimizer.init(self.layout.unflatten(self.start.encoder), self.start.table),
            aggregator=self.aggregator.init(),
            constraints=self.constraints.init(self.start),
            pulls=counts,
            trained=counts.clone(),
            secret=server_key(self.config),
        )

    def byzantine(self, devices: int) -> int:
        return bound(self.config, devices)

    def step(self, state: ServerState, admitted: Admitted, round_: int, items: Tensor | None = None) -> Step:
        """Round ``round_`` (from 1) on one update or more. Raises RunError if the rule needs more.

        items: int32 [K], the slice of the round; None where the rows of the updates are those of its items.
        """
        updates = admitted.updates
        assert updates is not None
        clock = time.perf_counter()
        setting = Round(
            byzantine=self.byzantine(len(updates)),
            identity=admitted.identity,
            generator=generator(state.secret, "aggregator", round_),
            number=round_,
            model=state.model,
            step=lambda rows: self._alone(state, rows, updates.items, round_),
            root=admitted.root,
            interaction=interaction_length(self.config.model, self.config.train, state.model.encoder),
        )
        with torch.no_grad():
            combined, aggregator = self.aggregator(updates, state.aggregator, setting)
            rows = updates.items if combined.items is None else combined.items
            update = ParameterUpdate(self.layout.unflatten(combined.encoder), combined.rows, rows)
            delta, optimizer = self.optimizer.step(update, state.optimizer, self.rate(round_))
            row_marks = marks(updates)
            pulls, trained = state.pulls, state.trained
            for places, part in updates.by_slice():
                theirs = row_marks if updates.slice is None else row_marks[places.to(row_marks.device)]
                held = part.items
                if items is not None:
                    held, theirs = items, of_items(theirs, part.items, state.model.numbers(items))
                pulls, trained = observe(pulls, trained, held, theirs)
            popularity = estimate(pulls, trained, len(updates))
            trusted = trusted_updates(admitted, row_marks, combined.weights)
            moved = partial(self.moved, state.model)
            evidence = gather(self.config, state, moved, popularity, trusted, round_)
            delta, constraints, limited = self.constraints(state.model, delta, state.constraints, evidence)
            model = self.moved(state.model, delta)
        figures = {
            "update_norm": float((combined.encoder.square().sum() + combined.rows.square().sum()).sqrt()),
            "frozen_rows": float((combined.rows == 0).all(dim=1).float().mean()),
            **combined.figures,
            **limited,
            "seconds_aggregate": time.perf_counter() - clock,
        }
        after = replace(
            state,
            round=round_,
            model=model,
            optimizer=optimizer,
            aggregator=aggregator,
            constraints=constraints,
            pulls=pulls,
            trained=trained,
        )
        return Step(after, combined.weights, figures)

    def _alone(self, state: ServerState, rows: Tensor, items: Tensor, round_: int) -> Tensor:
        """The change of the rows [K, d] that the server step makes of one update of them."""
        alone = ParameterUpdate({}, rows, items)  # blocks are stepped one by one: no encoder, no work for it
        return self.optimizer.step(alone, state.optimizer, self.rate(round_))[0].rows

    def skip(self, state: ServerState, round_: int) -> ServerState:
        """A round with too few replies changes nothing but the round."""
        return replace(state, round=round_)

    def rate(self, round_: int) -> float:
        s = self.config.strategy
        return schedule(s.lr, round_, self.config.train.rounds, s.warmup_rounds, s.decay_from)

    def moved(self, model: GlobalModel, delta: ParameterUpdate) -> GlobalModel:
        """The model after a change; the padding row and rows outside the slice stay as they are."""
        table = model.table.index_add(0, delta.items.long(), delta.rows)  # [N + 1, d]
        return replace(model, encoder=model.encoder + self.layout.flatten(delta.encoder), table=table)


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
    return math.ceil(claim * devices) if claim < 1 else int(claim)


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


def check_slices(rule: Aggregator, config: RunConfig, num_items: int) -> None:
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
    if slices > num_items:
        raise ConfigError(f"train.slices = {slices} of {num_items} items: at most {num_items}")
