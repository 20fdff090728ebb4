"""Who is better than the best baseline beyond what seeds could have done. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from experiments.report.names import Condition
from experiments.report.section import ER, NDCG, Metric, Section
from experiments.report.statistics import Paired, holm, paired, seed_means


@dataclass(frozen=True)
class Comparison:
    """``strategy`` against ``baseline`` (NDCG@10), paired by seed; ``p`` after Holm, None if untestable.

    ``condition`` None: mean over the attacks. ``exposure``: ER@10 of the same pairs, uncorrected.
    """

    condition: Condition | None
    strategy: str
    baseline: str
    accuracy: Paired | None
    exposure: Paired | None = None
    p: float | None = None


def best_baseline(section: Section, conditions: Sequence[Condition]) -> str | None:
    """The strategy with the highest mean NDCG@10 over ``conditions`` whose rule is not ours."""
    found = {s: section.mean(s, conditions, NDCG) for s in section.strategies if not section.ours(s)}
    measured = {s: e.mean for s, e in found.items() if e is not None}
    return max(measured, key=measured.__getitem__, default=None)


def overall(section: Section) -> list[Comparison]:
    """Every strategy against the best baseline over all attacks (without attacks: over the clean runs)."""
    conditions = section.attacks or section.cleans
    return _corrected(_against(section, conditions, None, lambda strategy: True))


def by_condition(section: Section) -> list[Comparison]:
    """Our strategies (in a grid without ours: every other) against the best baseline of each condition."""
    ours = {s for s in section.strategies if section.ours(s)} or set(section.strategies)
    return _corrected(
        found
        for condition in (*section.cleans, *section.attacks)
        for found in _against(section, (condition,), condition, ours.__contains__)
    )


def _against(
    section: Section,
    conditions: Sequence[Condition],
    condition: Condition | None,
    chosen: Callable[[str], bool],
) -> Iterable[Comparison]:
    baseline = best_baseline(section, conditions)
    if baseline is None:
        return
    targeted = [c for c in conditions if c.targeted]
    for strategy in section.strategies:
        if strategy != baseline and chosen(strategy) and section.mean(strategy, conditions, NDCG):
            accuracy = _pair(section, strategy, baseline, conditions, NDCG)
            exposure = _pair(section, strategy, baseline, targeted, ER)
            yield Comparison(condition, strategy, baseline, accuracy, exposure)


def _pair(
    section: Section, one: str, other: str, conditions: Iterable[Condition], metric: Metric
) -> Paired | None:
    """Pairs (condition, seed) that both measured, averaged over conditions; then one pair a seed."""
    values = [
        {(c, seed): v for c in conditions for seed, v in section.by_seed(s, c, metric).items()}
        for s in (one, other)
    ]
    common = values[0].keys() & values[1].keys()
    first, second = (seed_means({key: found[key] for key in common}) for found in values)
    return paired(first, second)


def _corrected(found: Iterable[Comparison]) -> list[Comparison]:
    """Holm over all comparisons that could be tested."""
    found = list(found)
    testable = [i for i, one in enumerate(found) if one.accuracy is not None]
    ps = holm([one.accuracy.p for one in found if one.accuracy is not None])
    for i, p in zip(testable, ps, strict=True):
        found[i] = replace(found[i], p=p)
    return found
