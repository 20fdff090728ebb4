"""Components by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from common.errors import ConfigError, FedSieveError, UnknownName
from common.registry import build


@dataclass(frozen=True)
class Krum:
    byzantine: int = 1
    squared: bool = True

    def __post_init__(self) -> None:
        if self.byzantine < 0:
            raise ValueError("byzantine must be at least 0")


class Plain:
    def __init__(self) -> None:
        pass


REGISTRY: Mapping[str, Callable[..., object]] = {"krum": Krum, "plain": Plain}


def test_a_name_with_parameters_is_built() -> None:
    assert build("rule", REGISTRY, "krum", {}) == Krum()
    assert build("rule", REGISTRY, "krum", {"byzantine": 3}) == Krum(byzantine=3)
    assert isinstance(build("rule", REGISTRY, "plain", {}), Plain)


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownName, match="unknown rule 'crum'; valid: krum, plain") as caught:
        build("rule", REGISTRY, "crum", {})
    assert (caught.value.kind, caught.value.name, caught.value.valid) == ("rule", "crum", ["krum", "plain"])
    assert isinstance(caught.value, ConfigError)
    assert isinstance(caught.value, FedSieveError)


def test_an_unknown_parameter_lists_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match="rule 'krum' has no parameter 'f'; valid: byzantine, squared"):
        build("rule", REGISTRY, "krum", {"byzantine": 1, "f": 2})
    with pytest.raises(ConfigError, match="has no parameter 'x'; valid: none"):
        build("rule", REGISTRY, "plain", {"x": 1})


def test_self_is_no_parameter() -> None:
    with pytest.raises(ConfigError, match="has no parameter 'self'"):
        build("rule", REGISTRY, "krum", {"self": 1})


def test_an_unusable_value_is_told_with_the_rules_own_words() -> None:
    with pytest.raises(ConfigError, match="rule 'krum': byzantine must be at least 0"):
        build("rule", REGISTRY, "krum", {"byzantine": -1})
    with pytest.raises(ConfigError, match="rule 'krum'"):
        build("rule", REGISTRY, "krum", {"byzantine": "two"})
