"""From YAML, ``--set`` and Flower's flat run config to a :class:`RunConfig`, and back."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from common.config import AttackConfig, Component, ModelConfig, RunConfig
from common.errors import ConfigError, nearest_file
from common.explain import problems, value_text

Scalar = bool | int | float | str
SECTIONS: Mapping[str, type[BaseModel]] = {"model": ModelConfig, "attack": AttackConfig}
"""Those that are a component with settings around it."""
ENDINGS = (".yaml", ".yml")
JSON_STARTS = ("{", "[", '"')
"""Text of the flat form that begins like this is JSON."""


class _Twice(yaml.MarkedYAMLError):
    """A key that one mapping has twice: YAML forbids it, and PyYAML would take the last."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 1e-6 as text; here it is a number, as in YAML 1.2 and as everyone means it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in seen:
                raise _Twice(problem=key.value, problem_mark=key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def load(path: Path | None = None, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a YAML file and apply ``KEY=VALUE`` overrides (dotted keys, YAML values).

    Raises :class:`ConfigError` that names the key and what is valid there.
    """
    tree = {} if path is None else read_tree(path)
    for key, value in key_values(overrides).items():
        _put(tree, key, value)
    return validate(tree)


def key_values(overrides: Iterable[str]) -> dict[str, Any]:
    """``KEY=VALUE`` texts, the values read as YAML; the last of a key wins. Raises :class:`ConfigError`."""
    found: dict[str, Any] = {}
    for item in overrides:
        key, sign, text = item.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set {item!r}: expected KEY=VALUE, as in train.rounds=100")
        found.pop(key, None)  # so that it comes where it was said last
        found[key] = _read(text, f"--set {item!r}: the value")
    return found


def changed(tree: Mapping[str, Any], settings: Mapping[str, Any]) -> RunConfig:
    """``tree`` (left as it is) with values at dotted keys. Raises :class:`ConfigError`."""
    found = copy.deepcopy(dict(tree))
    for key, value in settings.items():
        _put(found, key, value)
    return validate(found)


def read_tree(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises :class:`ConfigError` when there is none."""
    try:
        tree = _read(path.read_text(encoding="utf-8"), str(path)) or {}
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}{nearest_file(path)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not YAML: byte {error.start + 1} is not UTF-8") from error
    if not isinstance(tree, dict):
        log = f"; a log is given with --set data.path={path}" if path.suffix not in ENDINGS else ""
        told = f"{path}: expected a mapping of settings, as in `seed: 0`"
        raise ConfigError(f"{told} (given: {value_text(tree)}){log}")
    return tree


def _read(text: str, what: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # a SafeLoader  # nosec B506
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "it has characters of control"
        if isinstance(error, _Twice):
            raise ConfigError(f"{what}: {where}: {error.problem} is given twice") from error
        told = "expected KEY: VALUE, spaces for indents, brackets and quotes closed"
        raise ConfigError(f"{what} is not YAML: {where}: {told}") from error
    except ValueError as error:  # such as 2001-99-99, which has the form of a date
        told = "text that looks like a date or a number needs quotes"
        raise ConfigError(f"{what} is not YAML: {error}; {told}") from error


def _put(tree: dict[str, Any], dotted: str, value: object) -> None:
    *parents, leaf = dotted.split(".")
    node = tree
    for name in parents:
        child = node.setdefault(name, {})
        if child is None:  # `train:` with nothing below it
            child = node[name] = {}
        if isinstance(child, str):  # `aggregator: krum` grows into `{name: krum, …}`
            child = node[name] = {"name": child}
        if not isinstance(child, dict):
            raise ConfigError(f"{dotted}: {name} is no group of settings (given: {value_text(child)})")
        node = child
    old = node.get(leaf)
    if isinstance(value, str) and (section := SECTIONS.get(dotted)):  # what is around the component stays
        around = {key: one for key, one in (old or {}).items() if key in section.model_fields}
        value = {**around, "name": value, "params": {}} if isinstance(old, dict) else {"name": value}
    elif isinstance(old, dict) and "name" in old and isinstance(value, str):
        value = {"name": value}
    elif leaf == "params" and parents and (section := SECTIONS.get(".".join(parents))):
        for key in [key for key in node if key not in section.model_fields]:
            del node[key]  # these were parameters too
    node[leaf] = value


def validate(tree: Mapping[str, Any]) -> RunConfig:
    """Check a nested mapping; every problem is named in one :class:`ConfigError`."""
    tree = {key: value for key, value in tree.items() if value is not None}  # `train:` with nothing below
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(problems(RunConfig, error, tree))) from error


def to_tree(config: RunConfig) -> dict[str, Any]:
    """The nested mapping that :func:`validate` reads back to an equal config, but for the server's secret."""
    return config.model_dump(mode="json")


def flattened(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of all that is in a nested mapping; each mapping in it, then what that holds."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        yield name, value
        if isinstance(value, Mapping):
            yield from flattened(value, f"{name}.")


def to_flat(config: RunConfig, secret: bool = False) -> dict[str, Scalar]:
    """Dotted keys and scalar values, as Flower's run config wants; the rest is JSON text.

    ``strategy.secret`` only on demand: every node can read a run's settings.
    """
    flat: dict[str, Scalar] = {}
    for name, value in config:
        if isinstance(value, BaseModel):
            for leaf, inner in value.model_dump(mode="json").items():
                flat[f"{name}.{leaf}"] = _scalar(inner, isinstance(getattr(value, leaf), Component))
            if name == "strategy" and secret:
                flat["strategy.secret"] = config.strategy.secret
        else:
            flat[name] = value
    return flat


def _scalar(value: Any, is_component: bool) -> Scalar:
    if is_component and set(value) == {"name"}:
        value = value["name"]
    if isinstance(value, Scalar) and not (isinstance(value, str) and value.startswith(JSON_STARTS)):
        return value
    return json.dumps(value)


def from_flat(flat: Mapping[str, Scalar]) -> RunConfig:
    """Read Flower's run config; text that begins like JSON is read as JSON."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        if isinstance(value, str) and value.startswith(JSON_STARTS):
            try:
                value = json.loads(value)
            except json.JSONDecodeError as error:
                told = f"{key}: begins like JSON and is none (given: {value_text(value)})"
                raise ConfigError(told) from error
        _put(tree, key, value)
    return validate(tree)


def component(name: str, **params: object) -> Component:
    """A :class:`Component` from Python."""
    return Component.model_validate({"name": name, **params})
