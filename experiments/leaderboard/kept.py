"""``protocol.yaml`` of a board's folder: what its page is of, and which other pages may take its place."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml

from common.errors import ConfigError
from experiments.compare.grid import Recipe
from experiments.leaderboard.protocol import Protocol, read_protocol
from server.records.begun import GRID, PAGE

KEPT = "protocol.yaml"
OTHERS = (GRID, "config.yaml", "results.csv", "results.parquet", "tables")
"""What a folder without a page has only if something else was written there."""


OURS = "# Written by fedsieve leaderboard, and written anew with the page.\n"


def as_text(protocol: Protocol) -> str:
    """A protocol as YAML, with all that it leaves to its defaults."""
    return OURS + yaml.safe_dump(_tree(protocol), sort_keys=False, allow_unicode=True)


def check_kept(folder: Path, asked: Protocol) -> bool:
    """Whether ``protocol.yaml`` is to be written: one that somebody wrote by hand, of ``asked`` too, stays.

    New rules may come: so one of one's own joins a board. Raises ConfigError where the page in ``folder`` is
    not of ``asked``, or has more rules, where such a file lacks rules, and for a folder of something else.
    """
    file = folder / KEPT
    if not file.is_file():
        strange = [one for one in OTHERS if (folder / one).exists()]
        if strange and not (folder / PAGE).exists():
            raise ConfigError(
                f"--out {folder}: holds {strange[0]}, which is not of a leaderboard; choose another folder"
            )
        return True
    other = f"or choose another --out; where the protocol itself has changed, remove {file}"
    try:
        kept = read_protocol(str(file))
    except ConfigError as error:
        why = str(error).splitlines()[0]
        raise ConfigError(f"{file}: not readable as a protocol: {why}; {other}") from error
    here, there = _comparable(asked), _comparable(kept)
    missing = [one for one in kept.grid.strategies if one not in asked.grid.strategies]
    if differing := [key for key in there if key != "strategies" and here[key] != there[key]]:
        keys = ", ".join(differing)
    elif not missing:
        own = file.read_text(encoding="utf-8").startswith(OURS)
        if not own and any(one not in kept.grid.strategies for one in asked.grid.strategies):
            told = "was written by hand and lacks rules that are asked for: add them there"
            raise ConfigError(f"{file} {told}, or choose another --out")
        return own
    elif all(_nameable(one) for one in missing):
        told = " ".join(f"--add {_argument(one)}" for one in missing)
        raise ConfigError(f"{file} has rules that {asked.wanted} lacks; name them with {told}, {other}")
    else:
        keys = "strategies"
    raise ConfigError(
        f"{file} is of {kept.title!r}, and {asked.wanted}, {asked.title!r}, differs in {keys}; "
        f"for the page that is there: fedsieve leaderboard {file} --out {folder}, {other}"
    )


def _tree(protocol: Protocol) -> dict[str, Any]:
    return {**protocol.head.model_dump(mode="json"), **protocol.grid.model_dump(mode="json")}


def _comparable(protocol: Protocol) -> dict[str, Any]:
    """Without guesses of time, and configs by their names: each machine has them in a place of its own."""
    tree = _tree(protocol)
    del tree["minutes"]
    for budget in tree["configs"]:
        budget["config"] = Path(budget["config"]).name if budget["config"] else None
    return tree


def _nameable(recipe: Recipe) -> bool:
    """Whether ``--add`` can say all of it."""
    return not recipe.label and not recipe.set


def _argument(recipe: Recipe) -> str:
    """The rule as ``--add`` takes it."""
    rule = recipe.aggregator
    if not rule.params:
        return rule.name
    tree = {"name": rule.name, **rule.params}
    text = yaml.safe_dump(tree, default_flow_style=True, width=10_000, sort_keys=False)
    return shlex.quote(text.strip())
