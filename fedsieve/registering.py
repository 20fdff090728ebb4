"""Components of one's own under a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, overload

from common.errors import ConfigError, UnknownName
from experiments.registries import REGISTRIES, group_of

T = TypeVar("T")


@overload
def register(what: str, name: str) -> Callable[[type[T]], type[T]]: ...
@overload
def register(what: type[T], name: str) -> type[T]: ...


def register(what: str | type[T], name: str) -> Callable[[type[T]], type[T]] | type[T]:
    """Make a class known under a name, in this process: ``fedsieve.run(aggregator="mine")``.

    A class in a module needs none of this: its name is ``my_package.rules:Mine`` in every process, those of
    :func:`fedsieve.compare` and of a deployment too.

    Parameters
    ----------
    what
        The class, derived from what its kind is derived from (:class:`fedsieve.aggregators.Aggregator`, …);
        or the kind, ``aggregators``, ``attacks``, ``constraints``, ``models``, ``optimizers``,
        ``pre`` or ``regularisers``, and what comes back is a decorator.
    name
        Letters, digits and ``_``; not one that is there already.

    Returns
    -------
    type
        The class.

    Raises
    ------
    UnknownName
        There is no such kind.
    ConfigError
        The class is of no kind, or the name is taken.
    """
    if isinstance(what, str):
        if what not in REGISTRIES:
            raise UnknownName("kind", what, REGISTRIES)
        registry = REGISTRIES[what]

        def registered(cls: type[T]) -> type[T]:
            registry.register(name, cls)
            return cls

        return registered
    if group := group_of(what):
        return register(group, name)(what)
    raise ConfigError(
        f"{what.__qualname__}: no component; say which kind it is, as in register('models', {name!r})"
    )
