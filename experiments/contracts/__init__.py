"""What a component of each kind promises, as functions: `fedsieve check` and the tests call the same ones.

A check takes ``make``, which builds the component anew, and raises AssertionError with a sentence. Its name
is short; the first line of its docstring is printed.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from common.errors import ConfigError, UnknownName
from common.registry import Registry, as_component
from experiments.registries import REGISTRIES, group_of

Check = Callable[[Callable[[], Any]], None]
KINDS: Mapping[str, str] = {registry.kind: group for group, registry in REGISTRIES.items()}
"""Kind -> group, which is the name of the kind's module here too."""


@dataclass(frozen=True)
class Finding:
    """One check of a component: what was checked, and what is wrong; empty where it passed."""

    promise: str
    problem: str = ""


def registry_of(kind: str) -> Registry[Any]:
    """The registry of a kind. Raises UnknownName."""
    if kind not in KINDS:
        raise UnknownName("kind", kind, KINDS)
    return REGISTRIES[KINDS[kind]]


def checks_of(kind: str) -> Sequence[Check]:
    """The checks of a kind, in the order in which they are told."""
    found: Sequence[Check] = importlib.import_module(f"experiments.contracts.{KINDS[kind]}").CHECKS
    return found


def kind_of(name: str) -> str:
    """The kind of the component ``name``. Raises ConfigError where it is none, or of several kinds."""
    registries = list(REGISTRIES.values())
    known = [registry.kind for registry in registries if name in registry]
    if len(known) > 1:
        raise ConfigError(f"{name!r} is of several kinds; say --kind, one of: {', '.join(known)}")
    if known:
        return known[0]
    if ":" not in name:
        offered = [registry.kind for registry in registries if name in registry.installed()]
        if offered:
            return offered[0]
        raise UnknownName("component", name, {one for registry in registries for one in registry})
    if group := group_of(registries[0].imported(name)):
        return REGISTRIES[group].kind
    raise ConfigError(
        f"{name!r} derives from no base of a component; valid: {', '.join(KINDS)} (see docs/extending.md)"
    )


def examine(kind: str, name: str, params: Mapping[str, object]) -> list[Finding]:
    """What the checks of ``kind`` say of a component. Raises ConfigError for one that cannot be built."""
    registry, make = registry_of(kind), builder(kind, name, params)
    make()
    found = [judged(check, make) for check in checks_of(kind)]
    return found if kind == "model" else [*found, judged(lambda m: written_down(registry, m), make, WRITTEN)]


def builder(kind: str, name: str, params: Mapping[str, object]) -> Callable[[], Any]:
    """What builds a component anew; a model with settings of its section beside its own parameters."""
    if kind == "model":
        from experiments.contracts.models import build

        return partial(build, name, params=dict(params))
    return partial(registry_of(kind).build, name, params)


WRITTEN = "An instance can be written to a config and built from it again"


def written_down(registry: Registry[Any], make: Callable[[], Any]) -> None:
    """An instance can be written to a config and built from it again."""
    told: Any = as_component(make())
    again = registry.build(told["name"], {key: value for key, value in told.items() if key != "name"})
    require(as_component(again) == told, f"{told} becomes {as_component(again)}")


def judged(check: Check, make: Callable[[], Any], promise: str = "") -> Finding:
    """One check: its promise, and what is wrong in words."""
    promise = promise or (inspect.getdoc(check) or check.__name__).partition("\n")[0].rstrip(".")
    try:
        check(make)
    except AssertionError as error:
        return Finding(promise, str(error).partition("\n")[0] or "it does not hold")
    except Exception as error:  # the component's own code, which may raise anything
        told = str(error).strip().partition("\n")[0]
        return Finding(promise, f"it raises {type(error).__name__}: {told}")
    return Finding(promise)


def require(holds: object, sentence: str) -> None:
    """Raise AssertionError with ``sentence`` unless it holds; works under ``python -O`` too."""
    if not holds:
        raise AssertionError(sentence)
