"""Metrics that are differences, seed by seed: to what honest interactions bring, and to the plain mean."""

from __future__ import annotations

from experiments.report.names import Condition
from experiments.report.section import ER, NDCG, PARITY, Section

ORACLE = "slow_reply"
"""The attack whose malicious devices are as good as absent."""


def beyond(section: Section, strategy: str, condition: Condition) -> dict[int, float]:
    """ER@10 less that of `parity` under the same strategy: same seed, share, targets and rounds."""
    return _beyond(section, strategy, condition, strategy)


def beyond_plain(section: Section, strategy: str, condition: Condition) -> dict[int, float]:
    """ER@10 less that of `parity` under the plain mean: same seed, share, targets and rounds."""
    return _beyond(section, strategy, condition, section.plain_for(strategy))


def ndcg_over_plain(section: Section, strategy: str, condition: Condition) -> dict[int, float]:
    """NDCG@10 less that of the plain mean under the same attack and seed."""
    return _over_plain(section, strategy, condition, NDCG)


def er_over_plain(section: Section, strategy: str, condition: Condition) -> dict[int, float]:
    """ER@10 less that of the plain mean under the same attack and seed."""
    return _over_plain(section, strategy, condition, ER)


def of_oracle(section: Section, strategy: str, condition: Condition) -> dict[int, float]:
    """NDCG@10 over that of the plain mean of the honest devices alone: same seed, share and users.

    Under ``slow_reply`` no malicious device answers in time, so that the honest ones train alone.
    """
    alone = {
        seed: cell.values[NDCG]
        for (name, other), cells in section.runs.items()
        if name == section.plain_for(strategy) and _alike(other, condition, ORACLE)
        for seed, cell in cells.items()
        if cell.values.get(NDCG)
    }
    mine = section.by_seed(strategy, condition, NDCG)
    return {seed: value / alone[seed] for seed, value in mine.items() if seed in alone}


def _over_plain(section: Section, strategy: str, condition: Condition, metric: str) -> dict[int, float]:
    plain = section.plain_for(strategy)
    less = section.by_seed(plain, condition, metric) if plain else {}
    return _less(section.by_seed(strategy, condition, metric), less)


def _beyond(section: Section, strategy: str, condition: Condition, by: str | None) -> dict[int, float]:
    mine = section.runs.get((strategy, condition), {})
    parity = {
        seed: cell.values[ER]
        for (name, other), cells in section.runs.items()
        if name == by and _alike(other, condition, PARITY)
        for seed, cell in cells.items()
        if seed in mine and mine[seed].label("targets") == cell.label("targets") and ER in cell.values
    }
    return _less(section.by_seed(strategy, condition, ER), parity)


def _alike(other: Condition, condition: Condition, kind: str) -> bool:
    """Whether ``other`` is that attack by the same share of devices in the same rounds.

    Without an attack there are no rounds of it.
    """
    same = condition.clean or other.protocol == condition.protocol
    return other.kind == kind and other.share == condition.share and same


def _less(values: dict[int, float], less: dict[int, float]) -> dict[int, float]:
    return {seed: value - less[seed] for seed, value in values.items() if seed in less}
