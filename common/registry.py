"""Look a component up by name and refuse parameters it does not take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TypeVar

from common.errors import ConfigError, UnknownName

T = TypeVar("T")


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
