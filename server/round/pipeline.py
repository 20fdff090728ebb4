"""One round on the server, without a network: combination → constraints → server step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from common.config import RunConfig
from common.device import CPU
from common.errors import CheckpointError, RunError
from common.models import Layout, initial, interaction_length
from common.seeding import generator
from common.tasks import GlobalModel
from server.aggregators import Aggregator, Round, build_aggregator
from server.aggregators.by_slice import BySlice
from server.aggregators.pre import with_pre
from server.constraints import Chain, build_constraints
from server.optimizers import Optimizer, ParameterUpdate, build_optimizer, schedule
from server.round.admission import Admitted
from server.round.evidence import gather, trusted_updates
from server.round.health import too_few
from server.round.popularity import estimate, marks, observe, of_items
from server.round.recipe import bound, check_parts, check_root, constraints_of
from server.round.state import ServerState, no_counts, server_key


@dataclass(frozen=True)
class Step:
    """The state after a round, each device's weight (None where a rule has none), and figures.

    lost: why the round changed nothing but its number; empty where it did. error: what the rule raised
    without meaning to, for the log.
    """

    state: ServerState
    weights: Tensor | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    lost: str = ""
    error: Exception | None = None


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
        check_root(rule, config)
        check_parts(config, rule, num_items)
        start, layout = initial(config.model, num_items, generator(config.seed, "model"))  # drawn on the CPU
        if config.train.slices > 1:
            rule = BySlice(rule, partial(bound, config))
        constraints = build_constraints(constraints_of(config))
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

    def round(self, state: ServerState, admitted: Admitted, round_: int, items: Tensor | None = None) -> Step:
        """:meth:`step`, or a lost round: whatever devices sent costs their round and never the run.

        Raises CheckpointError for a state that no round could use.
        """
        least = self.config.strategy.min_replies
        if len(admitted.identity) < least:
            return Step(self.skip(state, round_), lost=too_few(admitted, least))
        try:
            return self.step(state, admitted, round_, items)
        except CheckpointError:
            raise
        except RunError as error:  # too few devices for the rule
            return Step(self.skip(state, round_), lost=str(error))
        except Exception as error:  # what admission let through and a rule could not take
            lost = f"the rule failed: {type(error).__name__}"
            return Step(self.skip(state, round_), lost=lost, error=error)

    def step(self, state: ServerState, admitted: Admitted, round_: int, items: Tensor | None = None) -> Step:
        """Round ``round_`` (from 1) on one update or more. Raises RunError if the rule needs more.

        items: int32 [K], the slice of the round; None where the rows of the updates are those of its items.
        """
        updates = admitted.updates
        assert updates is not None
        clock = time.perf_counter()
        setting = Round(
            byzantine=bound(self.config, len(updates)),
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
            trusted = trusted_updates(admitted, row_marks, combined.weights, combined.alike)
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
