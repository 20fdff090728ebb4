"""The cells that a grid stands for."""

from __future__ import annotations

import itertools
import json
from typing import Any

from attacks import ATTACKS
from client.regularisers import build_regularisers
from common.config import Component, RunConfig, Section
from common.settings import changed, read_tree
from emulation.federation import check_attack
from experiments.compare.grid import GridConfig, Recipe
from experiments.compare.labels import attack_label, data_label, strategy_label
from server.aggregators import AGGREGATORS, build_aggregator
from server.aggregators.pre import with_pre
from server.constraints import build_constraints
from server.optimizers import build_optimizer
from server.round.bounds import check_bound


class Cell(Section):
    """One run of a grid: its settings, and the columns that tell it from the others."""

    config: RunConfig
    labels: dict[str, Any]


def expand(grid: GridConfig) -> list[Cell]:
    """Every cell, seeds outermost so that a first picture of all comes early.

    Settings are checked here: an unknown name or an impossible bound ends the grid before it starts.
    Raises ConfigError.
    """
    cells = []
    trees = {budget.config: read_tree(budget.config) for budget in grid.configs}
    axes = [[(key, value) for value in values] for key, values in grid.vary.items()]
    for seed, budget, model, target, share, recipe, attack, *more in itertools.product(
        grid.seeds,
        grid.configs,
        grid.models or (None,),
        grid.targets,
        grid.shares,
        _recipes(grid),
        _attacks(grid),
        *axes,
    ):
        settings: dict[str, Any] = {**grid.set, **budget.set, **dict(more), **recipe.overrides()}
        settings |= {"seed": seed, "attack.name": attack.name, "attack.params": attack.params}
        settings |= {"attack.share": share, "attack.targets": target}
        if model:
            settings |= {"model.name": model.name, "model.params": {}}
            settings |= {f"model.{key}": value for key, value in model.params.items()}
        config = changed(trees[budget.config], settings)
        _check(config)
        labels = {
            "data": data_label(config.data),
            "model": attack_label(model) if model else config.model.name,
            "aggregator": recipe.label or strategy_label(recipe.aggregator, recipe.set),
            "attack": attack_label(attack),
            "malicious_share": share,
            "aim": target if isinstance(target, str) else ",".join(map(str, target)),
            "seed": seed,
            **{
                key: value if isinstance(value, str | int | float) else json.dumps(value)
                for key, value in more
            },
        }
        cells.append(Cell(config=config, labels=labels))
    return cells


def _recipes(grid: GridConfig) -> list[Recipe]:
    found = []
    for recipe in grid.strategies:
        if recipe.aggregator.name == "all":
            names = [name for name in AGGREGATORS if name not in grid.skip]
            found += [Recipe(aggregator=Component(name=name), set=recipe.set) for name in names]
        else:
            found.append(recipe)
    return found


def _attacks(grid: GridConfig) -> list[Component]:
    names = ["control", *(name for name in ATTACKS if name != "control")]
    every = [Component(name=name) for name in names if name not in grid.skip]
    found = []
    for attack in grid.attacks:
        found += every if attack.name == "all" else [attack]
    return found


def _check(config: RunConfig) -> None:
    strategy = config.strategy
    check_bound(with_pre(build_aggregator(strategy.aggregator), strategy.pre), config)
    build_constraints(strategy.constraints)
    build_optimizer(strategy.optimizer)
    build_regularisers(config.client.regularisers)
    check_attack(config)
