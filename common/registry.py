"""Components by name: rules, attacks, models, … of this project, of installed packages or of one's own.

A name is ``krum`` (in a registry, or an entry point of an installed package) or ``my_package.rules:Mine``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from common.checks import of_another_type, shown
from common.errors import ConfigError, UnknownName, choices

T = TypeVar("T")
Base = type | tuple[type, ...] | tuple[str, ...]


class Component(BaseModel):
    """A rule, attack, optimiser, … by name with its parameters.

    Written ``krum`` or ``{name: krum, byzantine: 3}`` in YAML, or as an instance in Python.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


SETTINGS = {
    "aggregator": "strategy.aggregator",
    "attack": "attack.name",
    "constraint": "strategy.constraints",
    "model": "model.name",
    "optimizer": "strategy.optimizer",
    "pre-aggregator": "strategy.pre",
    "regulariser": "client.regularisers",
}
"""Which setting names one of a kind."""


class Registry(Mapping[str, type[T]], Generic[T]):
    """Name -> class of one kind. Iterates over what is registered, finds what is named in full.

    kind: in messages, as in "aggregator". group: of entry points, ``fedsieve.aggregators``. base: what a
    class of the kind derives from, or the methods that it has. Nothing else is ever called: settings
    name classes, and must not be able to name, say, ``subprocess:Popen``. beside: settings that all of the
    kind have, named where a parameter is wrong.
    """

    def __init__(
        self, kind: str, group: str, own: Mapping[str, type[T]], base: Base, beside: Sequence[str] = ()
    ) -> None:
        self.kind, self.group, self._beside = kind, f"fedsieve.{group}", tuple(beside)
        self._base: tuple[Any, ...] = base if isinstance(base, tuple) else (base,)
        self._known, self._own = dict(own), frozenset(own)
        self._offered: dict[str, str] = {}  # entry points that were found: to look for one takes long
        _ALL[group] = self

    def __getitem__(self, name: str) -> type[T]:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def register(self, name: str, factory: type[T]) -> None:
        """Make ``factory`` known as ``name`` in this process. Raises ConfigError for a name that is taken."""
        if not name.isidentifier():
            raise ConfigError(f"{self.kind} {name!r}: expected a name of letters, digits and _")
        if self._known.get(name, factory) is not factory:
            raise ConfigError(f"{self.kind} {name!r} is there already")
        self._check(name, factory)
        self._known[name] = factory

    def added(self) -> list[str]:
        """What :meth:`register` made known, in this process alone."""
        return [name for name in self._known if name not in self._own]

    def find(self, name: str) -> type[T]:
        """The class that ``name`` means. Raises UnknownName, ConfigError where a module does not import."""
        if name in self._known:
            return self._known[name]
        if ":" not in name and name not in self._offered:
            installed = self.installed()
            if name not in installed:
                raise UnknownName(self.kind, name, [*self._known, *installed], SETTINGS.get(self.kind, ""))
            self._offered[name] = installed[name]
        found: type[T] = self.imported(self._offered.get(name, name))
        self._check(name, found)
        return found

    def build(self, name: str, params: Mapping[str, object]) -> T:
        """``find(name)(**params)``. Raises ConfigError with the valid parameters for one it does not take."""
        cls = self.find(name)
        taken = inspect.signature(cls).parameters
        valid = [key for key in taken if key != "self"]
        any_ = any(p.kind is p.VAR_KEYWORD for p in taken.values())
        for given in () if any_ else params:
            if given not in valid:
                told = f"{self.kind} {name!r} has no parameter {given!r}{choices(given, valid)}"
                every = f"; of every {self.kind}: {', '.join(self._beside)}" if self._beside else ""
                raise ConfigError(told + every)
        for given, value in params.items():
            if wrong := of_another_type(value, taken[given].annotation if given in taken else None):
                raise ConfigError(f"{self.kind} {name!r}: {given} must be {wrong}, given {shown(value)}")
        try:
            return cls(**params)
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"{self.kind} {name!r}: {error}") from error

    def installed(self) -> dict[str, str]:
        """``module:Class`` of what installed packages offer, by name."""
        return {entry.name: entry.value for entry in entry_points(group=self.group)}

    def imported(self, name: str) -> Any:
        """What ``module:Class`` means, whatever it is. Raises ConfigError."""
        return _imported(self.kind, name)

    def fits(self, found: object) -> bool:
        """Whether ``found`` is a class of this kind."""
        if not isinstance(found, type):
            return False
        if isinstance(self._base[0], str):
            return all(any(method in vars(one) for one in found.__mro__) for method in self._base)
        return issubclass(found, self._base)

    def _check(self, name: str, found: object) -> None:
        if self.fits(found):
            return
        if isinstance(self._base[0], str):
            wanted = f"has {' and '.join(self._base)}"
        else:
            wanted = f"derives from {' or '.join(f'{one.__module__}.{one.__name__}' for one in self._base)}"
        what = getattr(found, "__name__", type(found).__name__)
        raise ConfigError(f"{self.kind} {name!r}: expected a class that {wanted}, found {what}")


_ALL: dict[str, Registry[Any]] = {}


def registries() -> Mapping[str, Registry[Any]]:
    """Those that have been imported, by group: ``aggregators``, ``attacks``, …"""
    return _ALL


def as_component(value: object) -> object:
    """A name, a mapping or an instance as what :class:`Component` is made of; what is none of these as it is.

    An instance of a registered class goes by its registered name, another by ``module:Class``. Its parameters
    are those fields that differ from their defaults. Raises ConfigError for one that no file could hold.
    """
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, Component | Mapping | list | tuple | int | float | None | type):
        return value
    return {"name": name_of(type(value)), **parameters(value)}


def name_of(kind: type) -> str:
    """The name by which :meth:`Registry.find` finds this class."""
    for registry in _ALL.values():
        for name, factory in registry.items():
            if factory is kind:
                return name
    if "<" in kind.__qualname__ or kind.__module__ == "__main__":
        raise ConfigError(f"{kind.__qualname__}: define it in a module, or register it: others must find it")
    return f"{kind.__module__}:{kind.__qualname__}"


def parameters(instance: object) -> dict[str, Any]:
    """What an instance was built with, less the defaults, as JSON holds it.

    These are the fields of a dataclass; what is none (a model cannot be one) keeps them as ``self.config``.
    Raises ConfigError for what cannot be read back.
    """
    kind = type(instance)
    given: dict[str, Any] = {}
    if is_dataclass(instance):
        for f in fields(instance):
            default = f.default if f.default_factory is MISSING else f.default_factory()
            if f.init and (default is MISSING or getattr(instance, f.name) != default):
                given[f.name] = getattr(instance, f.name)
    elif taken := inspect.signature(kind).parameters:
        if not isinstance(config := getattr(instance, "config", None), Mapping):
            raise ConfigError(
                f"{kind.__name__}: expected a dataclass, or its parameters as self.config, to take it as an "
                "instance; or give its name and parameters"
            )
        given = {name: value for name, value in config.items() if value != taken[name].default}
    for name, value in given.items():
        try:
            given[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            raise ConfigError(
                f"{kind.__name__}.{name}: a {type(value).__name__} cannot be written to a config; "
                "expected numbers, text, lists or mappings"
            ) from None
    return given


def outside(names: Collection[str]) -> list[str]:
    """Those that bring code along which is no part of this project or of an installed package."""
    return sorted(name for name in names if ":" in name)


def source_of(kind: type) -> bytes:
    """The text of all modules of the package that ``kind`` is from: what it does depends on them."""
    top = sys.modules[kind.__module__.partition(".")[0]]
    file = getattr(top, "__file__", None)
    if file is None and not hasattr(top, "__path__"):
        return b""
    if hasattr(top, "__path__"):
        paths = sorted(path for folder in top.__path__ for path in Path(folder).rglob("*.py"))
    else:
        paths = [Path(str(file))]
    return b"\0".join(path.read_bytes() for path in paths if path.is_file())


def _imported(kind: str, name: str) -> Any:
    module, attribute = _module(kind, name), name.partition(":")[2]
    try:
        found: Any = module
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError:
        names = [n for n, value in vars(module).items() if isinstance(value, type)]
        own = [n for n in names if vars(module)[n].__module__ == module.__name__]
        raise UnknownName(f"{kind} of {module.__name__}", attribute, own) from None
    return found


def _module(kind: str, name: str) -> Any:
    path = name.partition(":")[0]
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        told = f"{kind} {name!r}: {error}; its folder has to be on PYTHONPATH, or its package installed"
        raise ConfigError(told) from error
    except Exception as error:  # it is the user's own code, which may raise anything
        raise ConfigError(f"{kind} {name!r}: {type(error).__name__}: {error}") from error
