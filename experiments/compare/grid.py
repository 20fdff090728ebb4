"""A grid as written in YAML, the cells it stands for, and their short names in the columns of a table."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from attacks import ATTACKS
from client.regularisers import build_regularisers
from common.config import Component, Named, RunConfig, Section, Several, Share
from common.errors import ConfigError
from common.explain import problems
from common.items import PICKED, Item
from common.models import template
from common.settings import changed, flattened, read_tree
from emulation.federation import check_attack
from experiments.compare.labels import component_label, data_label, strategy_label
from experiments.shipped import config as shipped_config
from server.aggregators import AGGREGATORS, build_aggregator
from server.aggregators.pre import with_pre
from server.optimizers import build_optimizer
from server.round.recipe import check_parts


def _as_budget(value: object) -> object:
    return {"config": value} if isinstance(value, str | Path) else value


def _as_list(value: object) -> object:
    """One thing alone is a list of it."""
    return value if isinstance(value, list | tuple) else [value]


def _as_targets(value: object) -> object:
    """Each entry is an experiment: a word, or the items that it promotes at once."""
    alone = isinstance(value, list | tuple) and value and not any(_of_its_own(one) for one in value)
    if alone:
        return [value]
    return _as_list(value) if _of_its_own(value) or not isinstance(value, int | str) else [[value]]


def _of_its_own(entry: object) -> bool:
    return isinstance(entry, list | tuple) or entry in PICKED


def _as_recipe(value: object) -> object:
    if isinstance(value, str) or (isinstance(value, dict) and "name" in value):
        return {"aggregator": value}
    return value


WRITTEN = {
    "seed": "seeds",
    "attack.name": "attacks",
    "attack.params": "attacks",
    "attack.share": "shares",
    "attack.targets": "targets",
    "strategy.aggregator": "strategies",
}
"""Settings of a run that every cell has from a list of the grid: under another key they would not count."""

Targets = Literal["cold", "medium", "random"] | Annotated[tuple[Item, ...], BeforeValidator(_as_list)]
"""What one experiment promotes."""


class Budget(Section):
    """One data set with its settings: a run's YAML beside the grid, and what this grid changes in it.

    Without ``config`` it starts from the defaults.
    """

    config: Path | None = None
    set: dict[str, Any] = Field({}, description="settings by dotted name")


class Recipe(Section):
    """One strategy of a grid: a rule and any other setting of the section ``strategy``."""

    aggregator: Named
    label: str = ""
    set: dict[str, Any] = Field({}, description="further settings of `strategy`, without the prefix")

    def overrides(self) -> dict[str, Any]:
        found = {"strategy.aggregator": {"name": self.aggregator.name, **self.aggregator.params}}
        return found | {f"strategy.{key}": value for key, value in self.set.items()}


class GridConfig(Section):
    """What to compare; ``all``, alone or in a list, is every rule, or ``control`` and every attack."""

    configs: Annotated[
        tuple[Annotated[Budget, BeforeValidator(_as_budget)], ...],
        BeforeValidator(_as_list),
        Field(min_length=1),
    ] = (Budget(),)
    models: Several = ()
    strategies: Annotated[
        tuple[Annotated[Recipe, BeforeValidator(_as_recipe)], ...], BeforeValidator(_as_list)
    ] = ()
    attacks: Annotated[tuple[Named, ...], BeforeValidator(_as_list)] = (Component(name="all"),)
    shares: Annotated[tuple[Share, ...], BeforeValidator(_as_list)] = (0.2,)
    targets: Annotated[tuple[Targets, ...], BeforeValidator(_as_targets)] = ("cold",)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_as_list)] = (0,)
    set: dict[str, Any] = Field({}, description="settings of every cell, by dotted name")
    vary: dict[str, Annotated[list[Any], BeforeValidator(_as_list)]] = Field(
        {}, description="more axes: dotted name -> its values"
    )
    skip: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field(
        (), description="rules or attacks that `all` leaves out"
    )
    keep: Literal["all", "results"] = Field(
        "all", description="results: no model, audit and events of a cell"
    )


def read_grid(path: Path) -> GridConfig:
    """Read a grid's YAML; its configs lie beside it or are shipped. Raises ConfigError naming the key."""
    return grid_of(read_tree(path), path.name, path.parent)


def grid_of(tree: Mapping[str, Any], name: str, folder: Path) -> GridConfig:
    """A grid from a mapping, its configs relative to ``folder``. Raises ConfigError naming both."""
    try:
        grid = GridConfig.model_validate(tree)
    except ValidationError as error:
        lines = [f"{name}: {told}" for told in problems(GridConfig, error, tree)]
        raise ConfigError("\n".join(lines)) from error
    if not grid.strategies:
        rules = ", ".join(sorted(AGGREGATORS))
        raise ConfigError(f"{name}: strategies: missing; expected rules to compare, or all: {rules}")
    _refuse_written(grid, name)
    budgets = tuple(
        b if b.config is None else b.model_copy(update={"config": shipped_config(b.config, folder).resolve()})
        for b in grid.configs
    )
    return grid.model_copy(update={"configs": budgets})


def _refuse_written(grid: GridConfig, name: str) -> None:
    """Raises ConfigError for a setting that a list of the grid, or a strategy, would overwrite."""
    lists = WRITTEN | ({"model.name": "models", "model.params": "models"} if grid.models else {})
    lists |= {f"model.{key}": "models" for key in _in_all([model.params for model in grid.models])}
    own = {f"strategy.{key}": "strategies" for key in _in_all([recipe.set for recipe in grid.strategies])}
    given = [("set", key, lists) for key, _ in flattened(grid.set)]
    given += [
        (f"configs.{i}.set", key, lists) for i, b in enumerate(grid.configs) for key, _ in flattened(b.set)
    ]
    given += [
        ("vary", key, own | lists)
        for axis, values in grid.vary.items()
        for value in values
        for key, _ in flattened({axis: value})
    ]
    for where, key, taken in given:
        if by := next((by for setting, by in taken.items() if f"{key}.".startswith(f"{setting}.")), ""):
            raise ConfigError(f"{name}: {where}: {key} would not count: the grid has it from {by}")


def _in_all(settings: Sequence[Mapping[str, Any]]) -> set[str]:
    """Names that each of them sets: where some do, another value is the default of the rest."""
    return {key for key in (settings[0] if settings else {}) if all(key in one for one in settings)}


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
    trees = {b.config: read_tree(b.config) if b.config else {} for b in grid.configs}
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
        rule = recipe.label or strategy_label(recipe.aggregator, recipe.set)
        try:
            config = changed(trees[budget.config], settings)
            _check(config)
        except ConfigError as error:
            error.args = (f"{_where(budget)}{rule} under {component_label(attack)}: {error}",)
            raise  # of its own kind: an unknown name stays one
        labels = {
            "data": data_label(config),
            "model": component_label(model) if model else config.model.name,
            "aggregator": rule,
            "attack": component_label(attack),
            "malicious_share": share,
            "aim": target if isinstance(target, str) else ",".join(target),
            "seed": seed,
            **{
                key: value if isinstance(value, str | int | float) else json.dumps(value)
                for key, value in more
            },
        }
        cells.append(Cell(config=config, labels=labels))
    return cells


def _where(budget: Budget) -> str:
    """The config of a cell that cannot be, for a message."""
    return f"{budget.config.stem}, " if budget.config else ""


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
    template(config.model)
    check_parts(config, with_pre(build_aggregator(strategy.aggregator), strategy.pre))
    build_optimizer(strategy.optimizer)
    build_regularisers(config.client.regularisers, config.model)
    check_attack(config)
