"""Settings as Python says them: by dotted name, a few by a short one, parts of a strategy as objects."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from common import explain
from common.config import Component, RunConfig
from common.errors import ConfigError
from common.explain import value_text
from common.registry import as_component
from common.settings import changed, load, to_tree
from experiments import shipped

SHORT = {
    "rounds": "train.rounds",
    "devices": "train.devices_per_round",
    "aggregator": "strategy.aggregator",
    "constraints": "strategy.constraints",
    "optimizer": "strategy.optimizer",
    "attack": "attack.name",
    "share": "attack.share",
    "model": "model.name",
    "seed": "seed",
}
"""The short names and the settings they stand for; every other setting goes by its dotted name."""
Part = Mapping[str, Any]
"""A component as ``{"name": …, parameter: …}``."""


def configured(base: RunConfig, settings: Mapping[str, object]) -> RunConfig:
    """``base`` with ``settings`` by short or dotted name; those that are None are not given.

    Raises ConfigError for an unknown name, with the nearest, for one given twice, and for a wrong value.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    placed: dict[str, Any] = {}
    for name, value in given.items():
        place = SHORT.get(name, name)
        if place not in given or place == name:
            placed |= _spread(_known(place), value)
            continue
        raise ConfigError(f"{name} and {place} are the same setting; give one of them")
    if not placed:
        return base
    tree = to_tree(base)
    tree["strategy"]["secret"] = base.strategy.secret  # which no dump has
    return changed(tree, placed)


def joined(*groups: Mapping[str, object] | None) -> dict[str, object]:
    """Several mappings of settings as one. Raises ConfigError for a name that two of them give."""
    found: dict[str, object] = {}
    for group in groups:
        if group is not None and not isinstance(group, Mapping):
            raise ConfigError(f"settings: expected a mapping {{name: value}}, found {given_text(group)}")
        for name, value in (group or {}).items():
            if value is None:
                continue
            if name in found:
                raise ConfigError(f"{name} is given twice")
            found[name] = value
    return found


def load_config(config: str | os.PathLike[str]) -> RunConfig:
    """All settings of a shipped config or of a YAML file, for :func:`fedsieve.run`.

    Parameters
    ----------
    config
        What ``fedsieve run`` takes at the command line: ``demo``, ``ml-1m`` or another shipped config, or the
        path of a file. In :func:`fedsieve.run` a name is that of a log.

    Returns
    -------
    RunConfig
        ``fedsieve.run(fedsieve.load_config("demo"), rounds=20)`` runs it, with further settings.

    Raises
    ------
    ConfigError
        There is no such config, or it has a wrong setting.
    """
    return load(shipped.config(path_of(config, "config", "a name or a path")))


def path_of(given: object, what: str, expected: str = "a path") -> Path:
    """``given`` as a path. Raises ConfigError for what is none, and for an empty one: it is where one is."""
    if not isinstance(given, str | os.PathLike) or not str(given) or "\0" in str(given):
        raise ConfigError(f"{what}: expected {expected}, found {given_text(given)}")
    return Path(given)


def is_list(given: object) -> bool:
    """Whether ``given`` has values one by one, and is no text."""
    named = isinstance(given, str | bytes | Mapping)
    return isinstance(given, Iterable) and not named and getattr(given, "ndim", 1) != 0


def given_text(given: object) -> str:
    """What was given in place of something else: a plain value as it is, of all else the type."""
    simple = given is None or isinstance(given, str | bool | int | float | list | tuple)
    return value_text(given) if simple else f"a {type(given).__name__}"


def names() -> list[str]:
    """Every dotted name of a setting."""
    return list(explain.names(RunConfig))


def _known(name: str) -> str:
    """``name`` if it is a setting, or a parameter within one, as in ``strategy.aggregator.byzantine``."""
    every, name = names(), str(name)
    if name in every or any(name.startswith(f"{one}.") for one in every):
        return name
    if group := [one for one in every if one.startswith(f"{name}.")]:
        raise ConfigError(f"{name} is a group of settings; give them one by one: {', '.join(group)}")
    same = [one for one in every if one.rpartition(".")[2] == name]
    near = same or get_close_matches(name, [*SHORT, *every], 3)
    told = f"; nearest: {', '.join(near)}" if near else ""
    raise ConfigError(
        f"unknown setting {name!r}{told}; valid: {', '.join(SHORT)}, and any setting by its dotted name, "
        "as in {'train.local_steps': 2}"
    )


def _spread(place: str, value: object) -> dict[str, Any]:
    """``value`` at ``place``; an attack and a model have a place for the name and one for parameters."""
    part = plain(value)
    if place in ("attack.name", "model.name") and isinstance(part, dict):
        if "name" not in part:
            raise ConfigError(f"{place}: expected a name, or {{'name': …, parameter: …}}, found {part}")
        params = {key: inner for key, inner in part.items() if key != "name"}
        if place == "attack.name":
            return {place: part["name"], "attack.params": params}
        own = {key: inner for key, inner in params.items() if f"model.{key}" not in names()}
        common = {f"model.{key}": inner for key, inner in params.items() if key not in own}
        return {place: part["name"], **common, **({"model.params": own} if own else {})}
    return {place: part}


def plain(value: object) -> Any:
    """``value`` as YAML would have it: objects as ``{name: …, parameter: …}``. Raises ConfigError."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):  # as of np.arange(3)
        inner = value.tolist()
        if type(inner) is type(value):  # as of longdouble
            raise ConfigError(f"expected a number that Python has, found {inner} ({type(inner).__name__})")
        return plain(inner)
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Component):
        return value.model_dump()
    if value is None or isinstance(value, bool | int | float | str | PurePath):
        return value
    if isinstance(value, type):
        raise ConfigError(f"{value.__name__} is a class; expected an object, as in {value.__name__}()")
    return as_component(value)
