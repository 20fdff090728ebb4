"""What makes a node malicious: the attack, its targets and its times, as the node config says them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from attacks import build_attack
from attacks.base import Attack
from common.errors import ConfigError


@dataclass(frozen=True)
class Attacker:
    """``rule`` on ``targets`` from ``start_round`` on, in the first ``active`` rounds of every ``period``.

    seed: what colluding nodes agreed upon, from their node configs; omniscient: ``knowledge: full``, the
    honest updates of the round are seen (embedded runs alone).
    """

    rule: Attack
    targets: tuple[int, ...] = ()
    start_round: int = 1
    period: int = 1
    active: int = 1
    seed: int = 0
    omniscient: bool = False

    def attacks_in(self, round_: int) -> bool:
        """Whether ``round_`` is one of attack; in the others the node's devices are honest."""
        since = round_ - self.start_round
        return since >= 0 and since % self.period < self.active


def read_attacker(config: Mapping[str, bool | int | float | str]) -> Attacker | None:
    """The attacker that a node config describes, None for an honest node. Raises ConfigError."""
    name = str(config.get("attack", "none"))
    if name == "none":
        return None
    try:
        params = json.loads(str(config.get("params", "{}")))
        targets = tuple(int(t) for t in str(config.get("targets", "")).split(",") if t.strip())
    except ValueError as error:
        raise ConfigError(f"node config: params must be JSON and targets item numbers: {error}") from error
    times = {key: _positive(config, key) for key in ("start_round", "period", "active")}
    if times["active"] > times["period"]:
        raise ConfigError(f"node config: active is {times['active']}; expected at most period")
    knowledge = config.get("knowledge", "own")
    if knowledge not in ("own", "full"):
        raise ConfigError(f"node config: knowledge is {knowledge!r}; valid: own, full")
    seed = int(config.get("seed", 0))
    return Attacker(build_attack(name, params), targets, **times, seed=seed, omniscient=knowledge == "full")


def _positive(config: Mapping[str, bool | int | float | str], key: str) -> int:
    value = config.get(key, 1)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"node config: {key} is {value!r}; expected a whole number from 1")
    return value
