"""Components of one's own under a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, overload

from torch import nn

from attacks import Attack
from client.regularisers import Regulariser
from common.errors import ConfigError, UnknownName
from common.registry import registries
from server.aggregators import Aggregator
from server.aggregators.pre import Mixer
from server.constraints import Constraint
from server.optimizers import Optimizer

T = TypeVar("T")
BASES: dict[str, type] = {
    "aggregators": Aggregator,
    "attacks": Attack,
    "constraints": Constraint,
    "models": nn.Module,
    "optimizers": Optimizer,
    "pre_aggregators": Mixer,
    "regularisers": Regulariser,
}
"""What tells the kind of a class."""


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
        ``pre_aggregators`` or ``regularisers``, and what comes back is a decorator.
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
        kinds = registries()
        if what not in kinds:
            raise UnknownName("kind", what, kinds)

        def registered(cls: type[T]) -> type[T]:
            kinds[what].register(name, cls)
            return cls

        return registered
    for kind, base in BASES.items():
        if base in what.__mro__:
            registries()[kind].register(name, what)
            return what
    raise ConfigError(
        f"{what.__qualname__} derives from no base class of a component; say which kind it is, as in "
        f"register('constraints', {name!r})"
    )
