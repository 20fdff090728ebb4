"""A grid as written in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from common.config import Component, Named, Positive, Section, Share
from common.errors import ConfigError
from common.settings import read_tree


def _as_budget(value: object) -> object:
    return {"config": value} if isinstance(value, str | Path) else value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _as_recipe(value: object) -> object:
    if isinstance(value, str) or (isinstance(value, dict) and "name" in value):
        return {"aggregator": value}
    return value


class Budget(Section):
    """One data set with its settings: a run's YAML beside the grid, and what this grid changes in it."""

    config: Path
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

    configs: Annotated[tuple[Annotated[Budget, BeforeValidator(_as_budget)], ...], Field(min_length=1)]
    models: tuple[Named, ...] = ()
    strategies: Annotated[
        tuple[Annotated[Recipe, BeforeValidator(_as_recipe)], ...], BeforeValidator(_as_list)
    ] = (Recipe(aggregator=Component(name="all")),)
    attacks: Annotated[tuple[Named, ...], BeforeValidator(_as_list)] = (Component(name="all"),)
    shares: tuple[Share, ...] = (0.2,)
    targets: tuple[Literal["cold", "medium", "random"] | tuple[Positive, ...], ...] = ("cold",)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    set: dict[str, Any] = Field({}, description="settings of every cell, by dotted name")
    vary: dict[str, list[Any]] = Field({}, description="more axes: dotted name -> its values")
    skip: tuple[str, ...] = Field((), description="rules or attacks that `all` leaves out")
    keep: Literal["all", "results"] = Field(
        "all", description="results: no model, audit and events of a cell"
    )


def read_grid(path: Path) -> GridConfig:
    """Read a grid's YAML; the configs it names are relative to it. Raises ConfigError naming the key."""
    tree = read_tree(path)
    try:
        grid = GridConfig.model_validate(tree)
    except ValidationError as error:
        lines = [f"{path.name}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        lines.append(f"keys of a grid: {', '.join(GridConfig.model_fields)}")
        raise ConfigError("\n".join(lines)) from error
    budgets = tuple(b.model_copy(update={"config": (path.parent / b.config).resolve()}) for b in grid.configs)
    return grid.model_copy(update={"configs": budgets})
