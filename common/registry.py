"""Components by name: rules, attacks, models, … of this project, of installed packages or of one's own.

A name is ``krum`` (in a registry, or an entry point of an installed package) or ``my_package.rules:Mine``.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from common.errors import ConfigError, UnknownName

T = TypeVar("T")
PLAIN = (bool, int, float, str, type(None))
"""What a parameter may be, or a list or mapping of these: what YAML and JSON hold."""


class Component(BaseModel):
    """A rule, attack, optimiser, … by name with its parameters.

    Written ``krum`` or ``{name: krum, byzantine: 3}`` in YAML, or as an instance in Python.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Registry(Mapping[str, type[T]], Generic[T]):
    """Name -> class of one kind. Iterates over what is registered, finds what is named in full.

    kind: in messages, as in "aggregator". group: of entry points, ``fedsieve.aggregators``. base: what
    classes from outside derive from, where the kind has such a class.
    """

    def __init__(self, kind: str, group: str, own: Mapping[str, type[T]], base: type | None = None) -> None:
        self.kind, self.group, self.base = kind, f"fedsieve.{group}", base
        self._known = dict(own)
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

    def find(self, name: str) -> type[T]:
        """The class that ``name`` means. Raises UnknownName, ConfigError where a module does not import."""
        if name in self._known:
            return self._known[name]
        if ":" in name:
            found = _imported(self.kind, name)
        else:
            installed = {entry.name: entry for entry in entry_points(group=self.group)}
            if name not in installed:
                raise UnknownName(self.kind, name, [*self._known, *installed])
            found = _imported(self.kind, installed[name].value)
        self._check(name, found)
        return found  # type: ignore[no-any-return]

    def build(self, name: str, params: Mapping[str, object]) -> T:
        """``find(name)(**params)``. Raises ConfigError with the valid parameters for one it does not take."""
        return build(self.kind, {name: self.find(name)}, name, params)

    def _check(self, name: str, factory: object) -> None:
        wanted = self.base
        if not callable(factory) or (
            wanted and not (isinstance(factory, type) and issubclass(factory, wanted))
        ):
            told = f"a class that derives from {wanted.__module__}.{wanted.__name__}" if wanted else "a class"
            raise ConfigError(f"{self.kind} {name!r}: expected {told}, found {type(factory).__name__}")


_ALL: dict[str, Registry[Any]] = {}


def registries() -> Mapping[str, Registry[Any]]:
    """Those that have been imported, by group: ``aggregators``, ``attacks``, …"""
    return _ALL


def build(kind: str, registry: Mapping[str, Callable[..., T]], name: str, params: Mapping[str, object]) -> T:
    """Return ``registry[name](**params)``.

    Raises :class:`UnknownName` for an unknown name and :class:`ConfigError`, naming the valid
    parameters, for an unknown or unusable parameter.
    """
    if name not in registry:
        raise UnknownName(kind, name, registry)
    factory = registry[name]
    valid = [p for p in inspect.signature(factory).parameters if p != "self"]
    for given in params:
        if given not in valid:
            raise ConfigError(
                f"{kind} {name!r} has no parameter {given!r}; valid: {', '.join(valid) or 'none'}"
            )
    try:
        return factory(**params)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{kind} {name!r}: {error}") from error


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
    """What an instance was built with, less the defaults. Raises ConfigError."""
    kind = type(instance)
    if is_dataclass(instance):
        given = {
            f.name: getattr(instance, f.name)
            for f in fields(instance)
            if f.init and (f.default is MISSING or getattr(instance, f.name) != f.default)
        }
    else:
        taken = [p for p in inspect.signature(kind).parameters if p not in ("args", "kwargs")]
        missing = [name for name in taken if not hasattr(instance, name)]
        if missing:
            raise ConfigError(
                f"{kind.__name__}: its parameter {missing[0]!r} cannot be read back; make it a dataclass"
            )
        given = {name: getattr(instance, name) for name in taken}
    for name, value in given.items():
        if not _plain(value):
            raise ConfigError(
                f"{kind.__name__}.{name}: a {type(value).__name__} cannot be written to a config; "
                "expected numbers, text, lists or mappings"
            )
    return {name: list(v) if isinstance(v, tuple) else v for name, v in given.items()}


def _plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _plain(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return isinstance(value, PLAIN)


def outside(names: Collection[str]) -> list[str]:
    """Those that bring code along which is no part of this project or of an installed package."""
    return sorted(name for name in names if ":" in name)


def source_of(name: str) -> bytes:
    """The text of all modules beside the one that ``module:Class`` names: what it does depends on them."""
    module = _module("component", name)
    file = Path(module.__file__ or "")
    own = sorted(file.parent.glob("*.py")) if "." in module.__name__ else [file]
    return b"\0".join(path.read_bytes() for path in own if path.is_file())


def _imported(kind: str, name: str) -> Any:
    module, (_, _, attribute) = _module(kind, name), name.partition(":")
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
        try:
            return importlib.import_module(path)
        except ModuleNotFoundError as error:
            here = str(Path.cwd())
            if (error.name or "").partition(".")[0] != path.partition(".")[0] or here in sys.path:
                raise
            sys.path.append(here)  # at the end: a file called common.py here hides nothing
            return importlib.import_module(path)
    except Exception as error:  # it is the user's own code, which may raise anything
        raise ConfigError(f"{kind} {name!r}: {type(error).__name__}: {error}") from error
