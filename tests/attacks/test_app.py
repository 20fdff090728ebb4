"""When a malicious node attacks, and what its node config must say."""

from __future__ import annotations

from typing import Any

import pytest

from attacks import build_attack
from attacks.adaptive import Adaptive
from attacks.app import Attacker, read_attacker
from attacks.parity import Parity
from common.errors import ConfigError


def rounds(last: int = 12, **times: int) -> list[int]:
    attacker = Attacker(build_attack("nan", {}), **times)  # type: ignore[arg-type]
    return [r for r in range(1, last + 1) if attacker.in_round(r) is not None]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({}, list(range(1, 13))),
        ({"start_round": 9}, [9, 10, 11, 12]),
        ({"period": 4}, [1, 5, 9]),
        ({"period": 4, "active": 2, "start_round": 3}, [3, 4, 7, 8, 11, 12]),
        ({"period": 5, "active": 5, "start_round": 11}, [11, 12]),
    ],
)
def test_it_attacks_in_the_first_rounds_of_every_period(times: dict[str, int], expected: list[int]) -> None:
    assert rounds(**times) == expected


def test_in_rounds_of_rest_it_is_honest_or_holds_the_target() -> None:
    config = {"attack": "adaptive", "start_round": 3, "period": 2}
    for rest, kind in (({}, type(None)), ({"rest": "honest"}, type(None)), ({"rest": "parity"}, Parity)):
        attacker = read_attacker({**config, **rest})
        assert attacker is not None
        assert [type(attacker.in_round(r)) for r in (1, 2, 3, 4, 5)] == [kind, kind, Adaptive, kind, Adaptive]


def test_an_honest_node_has_no_attacker() -> None:
    assert read_attacker({"data": "ml-100k"}) is None
    assert read_attacker({"attack": "none", "period": 3}) is None


def test_a_node_config_says_everything() -> None:
    config = {
        **{"attack": "ipm", "params": '{"epsilon": 2.0}', "targets": "4, 9", "start_round": 3},
        **{"period": 4, "active": 2, "knowledge": "full", "seed": 6},
    }
    assert read_attacker(config) == Attacker(
        build_attack("ipm", {"epsilon": 2.0}), (), 3, 4, 2, 6, True, names=("4", "9")
    )


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"start_round": 0}, "start_round is 0"),
        ({"period": 0}, "period is 0; expected a whole number from 1"),
        ({"period": True}, "period is True"),
        ({"active": "often"}, "active is 'often'"),
        ({"active": 1.5, "period": 2}, "active is 1.5"),
        ({"active": 3, "period": 2}, "active is 3; expected at most period"),
        ({"active": 2}, "active is 2; expected at most period"),
        ({"rest": "asleep"}, "rest is 'asleep'; valid: honest, parity"),
        ({"knowledge": "all"}, "knowledge is 'all'; valid: own, full"),
        ({"seed": "x"}, "seed is 'x'; expected a whole number from 0"),
    ],
)
def test_a_wrong_value_is_named(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_attacker({"attack": "nan", **wrong})
