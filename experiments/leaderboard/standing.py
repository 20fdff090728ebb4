"""Figures of every rule over a log and a share or all of them, and the places that seeds support.

For a rule r and the conditions C (log, share and attack) of a scope:

    kept(c, s)   = NDCG@10 of r under c / NDCG@10 of the clean plain mean, same log, share and seed s
    worst kept   = the c in C with the lowest mean over seeds, with the interval over seeds there
    beyond(c, s) = ER@10 of r under c − ER@10 of r under `parity`
    lost         = 1 − kept without an attack

A place is a range. First place: 1 + the rules whose whole interval is better than the whole interval of r;
last place: the number of ranked rules − those whose whole interval is worse. Rules whose intervals overlap
share a place. Only rules with every cell of the scope done on the same three seeds or more are ranked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from experiments.leaderboard.protocol import FIXED
from experiments.report.differences import beyond
from experiments.report.names import CLEAN, Condition
from experiments.report.section import NDCG, Metric, Section, share_retained
from experiments.report.statistics import FEWEST, Estimate, estimate, seed_means

ALL = "all"
Groups = Mapping[tuple[str, str], Section]
"""The finished runs by log and model."""


@dataclass(frozen=True, eq=False)
class Point:
    """A condition and what it is called; ``section`` None as long as nothing of its log and model is done."""

    name: str
    condition: Condition
    section: Section | None

    def by_seed(self, rule: str, metric: Metric) -> dict[int, float]:
        return self.section.by_seed(rule, self.condition, metric) if self.section else {}


@dataclass(frozen=True)
class Places:
    """From the first to the last place that the seeds leave to a rule."""

    first: int
    last: int


@dataclass(frozen=True)
class Standing:
    """A rule in a scope. ``seeds``: those on which every cell is done, and all figures are over them; where
    there is none, figures are over what there is, and ``places`` are None."""

    rule: str
    scope: tuple[str, str, str]
    seeds: int
    done: int
    cells: int
    worst: tuple[Estimate, str] | None
    mean: Estimate | None
    exposed: tuple[Estimate, str] | None
    exposed_mean: Estimate | None
    lost: Estimate | None
    clean: Estimate | None
    server_ms: Estimate | None
    places: Places | None = None
    exposure_places: Places | None = None

    @property
    def order(self) -> tuple[float, ...]:
        """Ranked rules first, by the worse of their two places, then by what they keep at worst."""
        firsts = [one.first for one in (self.places, self.exposure_places) if one]
        kept = -self.worst[0].mean if self.worst else math.inf
        return (max(firsts, default=math.inf), sum(firsts) or math.inf, self.seeds == 0, kept)


def standing(
    rule: str,
    scope: tuple[str, str, str],
    points: Sequence[Point],
    seeds: Sequence[int],
    done: int,
    cells: int,
) -> Standing:
    """One rule over the conditions of a scope, ``FIXED`` among them; ``done`` of ``cells`` are finished."""
    attacks = [p for p in points if p.condition.kind not in (*FIXED, *CLEAN)]
    cleans = [p for p in points if p.condition.clean]
    promoted = [p for p in attacks if p.condition.targeted]
    asked: list[tuple[Sequence[Point], Metric]] = [
        (attacks, share_retained),
        (cleans, share_retained),
        (promoted, beyond),
    ]
    known = {(p, metric): p.by_seed(rule, metric) for of, metric in asked for p in of}
    whole = [seed for seed in seeds if known and all(seed in values for values in known.values())]

    def kept(values: Mapping[int, float]) -> dict[int, float]:
        return {seed: v for seed, v in values.items() if not whole or seed in whole}

    def of(points: Sequence[Point], metric: Metric) -> Estimate | None:
        values: dict[tuple[Hashable, int], float] = {
            (p, seed): v for p in points for seed, v in kept(p.by_seed(rule, metric)).items()
        }
        return estimate(seed_means(values))

    def extreme(points: Sequence[Point], metric: Metric, least: bool) -> tuple[Estimate, str] | None:
        found = [(e, p.name) for p in points if (e := estimate(kept(known[p, metric])))]
        return (min if least else max)(found, key=lambda one: one[0].mean, default=None)

    return Standing(
        rule,
        scope,
        len(whole),
        done,
        cells,
        extreme(attacks, share_retained, True),
        of(attacks, share_retained),
        extreme(promoted, beyond, False),
        of(promoted, beyond),
        _turned(of(cleans, share_retained)),
        of(cleans, NDCG),
        _times(of(points, "server_seconds"), 1000),
    )


def ranked(found: Sequence[Standing]) -> list[Standing]:
    """The rules of one scope with their places, best first."""
    whole = [one for one in found if one.seeds >= FEWEST]
    by_kept = _places({one.rule: one.worst[0] for one in whole if one.worst}, lambda a, b: a.low > b.high)
    by_exposure = _places(
        {one.rule: one.exposed[0] for one in whole if one.exposed}, lambda a, b: a.high < b.low
    )
    placed = [
        replace(one, places=by_kept.get(one.rule), exposure_places=by_exposure.get(one.rule)) for one in found
    ]
    return sorted(placed, key=lambda one: (*one.order, one.rule))


def _places(
    values: Mapping[str, Estimate], better: Callable[[Estimate, Estimate], bool]
) -> dict[str, Places]:
    """The range of places of each; ``better(a, b)``: a is certainly better than b."""
    return {
        rule: Places(
            1 + sum(better(other, mine) for other in values.values()),
            len(values) - sum(better(mine, other) for other in values.values()),
        )
        for rule, mine in values.items()
    }


def _turned(value: Estimate | None) -> Estimate | None:
    return value and _changed(value, lambda x: 1 - x)


def _times(value: Estimate | None, unit: float) -> Estimate | None:
    return value and _changed(value, lambda x: unit * x)


def _changed(value: Estimate, change: Callable[[float], float]) -> Estimate | None:
    return estimate({seed: change(x) for seed, x in value.seeds.items()})
