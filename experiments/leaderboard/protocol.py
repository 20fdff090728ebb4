"""The protocol of a leaderboard as written in YAML: a version, a grid, and what papers report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import yaml
from pydantic import Field, ValidationError

from common.config import Section
from common.errors import ConfigError
from common.explain import problems
from common.settings import read_tree
from experiments import shipped
from experiments.compare.grid import GridConfig, Recipe, grid_of
from experiments.compare.labels import strategy_label

FIXED = ("control", "parity")
"""Attacks that every protocol needs: a clean run on the same users, and the yardstick of exposure."""
PLAIN = "mean"


class Published(Section):
    """A number of a paper; ``note`` says how it was measured there, ``source`` who reports it."""

    data: str
    model: str
    metric: Annotated[str, Field(pattern=r"^(HR|NDCG)@(5|10|20)$")]
    value: Annotated[float, Field(ge=0, le=1)]
    note: str
    source: str

    @property
    def column(self) -> str:
        """The column of a cell with the same metric."""
        return f"test.{self.metric.lower()}"


class Head(Section):
    """What a protocol says beside its grid."""

    version: Annotated[int, Field(ge=1)]
    title: str
    minutes: dict[str, Annotated[float, Field(gt=0)]] = Field(
        {}, description="by log, what a cell takes on one core; a guess until cells have ended"
    )
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """What is measured; ``wanted`` is the name or file it came from, ``added`` the rules of one's own
    as they were given, by their label."""

    head: Head
    grid: GridConfig
    wanted: str = shipped.EDITION
    added: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.head.title}, version {self.head.version}"


def read_protocol(wanted: str = shipped.EDITION, added: Sequence[str] = ()) -> Protocol:
    """A shipped protocol by name, or a file, with rules of one's own. Raises ConfigError naming the key."""
    path = shipped.protocol(wanted)
    tree = dict(read_tree(path))
    own = {key: tree.pop(key) for key in Head.model_fields if key in tree}
    try:
        head = Head.model_validate(own)
    except ValidationError as error:
        lines = [f"{path.name}: {told}" for told in problems(Head, error, own)]
        keys = ", ".join([*Head.model_fields, *GridConfig.model_fields])
        raise ConfigError("\n".join([*lines, f"keys of a protocol: {keys}"])) from error
    grid = grid_of(tree, path.name, path.parent)
    _check(path.name, grid)
    more = {text: _recipe(text) for text in added}
    grid = grid.model_copy(update={"strategies": (*grid.strategies, *more.values())})
    labels = {strategy_label(recipe.aggregator, recipe.set): text for text, recipe in more.items()}
    return Protocol(head, grid, wanted, labels)


def _check(name: str, grid: GridConfig) -> None:
    """A protocol compares like with like: one choice of targets, no further axis, and its yardsticks."""
    if grid.vary:
        raise ConfigError(f"{name}: vary: a protocol has no further axes; list the strategies instead")
    if len(grid.targets) > 1:
        raise ConfigError(f"{name}: targets: {len(grid.targets)} choices; a protocol has one")
    attacks = {one.name for one in grid.attacks}
    if missing := [one for one in FIXED if one not in attacks and "all" not in attacks]:
        raise ConfigError(
            f"{name}: attacks: {', '.join(missing)} missing; figures are relative to {', '.join(FIXED)}"
        )
    rules = {(one.aggregator.name, bool(one.set)) for one in grid.strategies}
    if not rules & {("all", False), (PLAIN, False)}:
        raise ConfigError(
            f"{name}: strategies: {PLAIN} missing; accuracy is relative to the clean plain mean"
        )


def _recipe(text: str) -> Recipe:
    """``my_package.rules:Mine``, or a mapping in YAML with its parameters."""
    try:
        found = yaml.safe_load(text) if text.lstrip().startswith("{") else text
        return Recipe.model_validate({"aggregator": found})
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(
            f"--add {text!r}; valid: my_package.rules:Mine, or {{name: …, parameter: value}}"
        ) from error
