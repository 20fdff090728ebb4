"""What the cells of a grid are called in the columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.config import Component, EvalConfig, RunConfig
from common.data.called import log_name


def data_label(config: RunConfig) -> str:
    """``ml-100k``; ``ml-100k, last 10`` where histories are cut; ``ml-100k, split by time``."""
    told, name, longest = config.eval, log_name(config.data), config.data.max_length
    cut = f", last {longest}" if longest else ""
    if told.split == "leave_one_out":
        return f"{name}{cut}"
    default = EvalConfig()
    moments = told.moments or (told.quantiles if told.quantiles != default.quantiles else ())
    at = " at " + " and ".join(f"{moment:.15g}" for moment in moments) if moments else ""
    return f"{name}{cut}, split by time{at}"


def strategy_label(rule: Component, settings: Mapping[str, Any]) -> str:
    """``nnm > krum(neighbours=3), byzantine=0.1``: pre-aggregators, rule, other settings."""
    before = [_name(part) for part in settings.get("pre", ())]
    others = [f"{key}={_value(value)}" for key, value in settings.items() if key != "pre"]
    return ", ".join([" > ".join([*before, component_label(rule)]), *others])


def component_label(component: Component) -> str:
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
