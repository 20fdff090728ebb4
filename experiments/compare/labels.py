"""Short names of strategies and attacks for the columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.config import Component, DataConfig


def data_label(data: DataConfig) -> str:
    """``ml-100k``, or ``ml-100k, last 10`` where histories are cut."""
    name = Path(data.path).stem if data.path and data.name != "synthetic" else data.name
    return f"{name}, last {data.max_length}" if data.max_length else name


def strategy_label(rule: Component, settings: Mapping[str, Any]) -> str:
    """``nnm > krum(neighbours=3), byzantine=0.1``: pre-aggregators, rule, other settings."""
    before = [_name(part) for part in settings.get("pre", ())]
    others = [f"{key}={_value(value)}" for key, value in settings.items() if key != "pre"]
    return ", ".join([" > ".join([*before, attack_label(rule)]), *others])


def attack_label(component: Component) -> str:
    """``adaptive(mode=row)``: the name, and the parameters that are given."""
    return _call(component.name, component.params)


def _name(value: Any) -> str:
    if isinstance(value, Mapping):
        return _call(str(value.get("name")), {k: v for k, v in value.items() if k != "name"})
    return str(value)


def _value(value: Any) -> str:
    return "+".join(_name(one) for one in value) if isinstance(value, list | tuple) else _name(value)


def _call(name: str, params: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{key}={_value(value)}" for key, value in params.items())
    return f"{name}({inside})" if inside else name
