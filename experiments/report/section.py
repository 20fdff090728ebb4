"""The runs on one data set with one model: by strategy, condition and seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from experiments.report.naming import CLEAN, OURS, PLAIN, Condition, percent, pre
from experiments.report.reading import Cell
from experiments.report.statistics import Estimate, estimate, seed_means

NDCG, HR, ER = "test.ndcg@10", "test.hr@10", "er@10"
RETAINED = "retained"
"""NDCG@10 over that of the clean run: same section and seed, plain mean, no attack."""

Runs = Mapping[tuple[str, Condition], Mapping[int, Cell]]


@dataclass(frozen=True)
class Section:
    """Finished runs of one (data, model); ``runs`` maps (strategy, condition) to cells by seed."""

    data: str
    model: str
    setting: str
    runs: Runs
    floors: Mapping[str, Mapping[str, float]]

    @property
    def title(self) -> str:
        return f"{self.data}, {self.model}" + (f" ({self.setting})" if self.setting else "")

    @cached_property
    def clean(self) -> dict[tuple[int, float | None], float]:
        """NDCG@10 of the clean plain mean by (seed, share); (seed, None) where any share will do."""
        found: dict[tuple[int, float | None], float] = {}
        for name in CLEAN:
            for (_, condition), cells in self.runs.items():
                for seed, cell in cells.items():
                    plain = cell.label("aggregator") == PLAIN and not pre(cell)
                    if plain and condition.kind == name and NDCG in cell.values:
                        found.setdefault((seed, condition.share), cell.values[NDCG])
                        found.setdefault((seed, None), cell.values[NDCG])
        return found

    def called(self, condition: Condition) -> str:
        """The attack, with the share of malicious devices where the section has several."""
        several = len({c.share for _, c in self.runs if c.share is not None}) > 1
        shown = several and condition.share is not None
        return f"{condition.attack}, {percent(condition.share or 0)}" if shown else condition.attack

    def value(self, cell: Cell, condition: Condition, metric: str) -> float | None:
        if metric != RETAINED:
            return cell.values.get(metric)
        own = cell.values.get(NDCG)
        base = self.clean.get((cell.seed, condition.share), self.clean.get((cell.seed, None)))
        return None if own is None or not base else own / base

    def by_seed(self, strategy: str, condition: Condition, metric: str) -> dict[int, float]:
        cells = self.runs.get((strategy, condition), {})
        found = {seed: self.value(cell, condition, metric) for seed, cell in sorted(cells.items())}
        return {seed: value for seed, value in found.items() if value is not None}

    def estimate(self, strategy: str, condition: Condition, metric: str) -> Estimate | None:
        return estimate(list(self.by_seed(strategy, condition, metric).values()))

    def overall(self, strategy: str, conditions: Iterable[Condition], metric: str) -> dict[int, float]:
        """By seed, the mean over conditions."""
        return seed_means(
            {(c, seed): v for c in conditions for seed, v in self.by_seed(strategy, c, metric).items()}
        )

    def mean(self, strategy: str, conditions: Iterable[Condition], metric: str) -> Estimate | None:
        return estimate(list(self.overall(strategy, conditions, metric).values()))

    def has(self, metric: str, conditions: Iterable[Condition] | None = None) -> bool:
        chosen = None if conditions is None else set(conditions)
        return any(
            metric in cell.values
            for (_, condition), cells in self.runs.items()
            if chosen is None or condition in chosen
            for cell in cells.values()
        )

    @cached_property
    def quality(self) -> str:
        """What strategies are judged by: the share retained, or NDCG@10 itself without a clean run."""
        return RETAINED if self.clean else NDCG

    @cached_property
    def cleans(self) -> tuple[Condition, ...]:
        """Conditions without an attack. `control` alone where it was run: same users as under attack."""
        found = sorted({c for _, c in self.runs if c.clean}, key=lambda c: (c.attack, c.share or 0))
        return tuple(c for c in found if c.kind == found[0].kind)

    @cached_property
    def attacks(self) -> tuple[Condition, ...]:
        """Conditions with an attack: the largest share first, and within a share the hardest."""
        harm = {
            c: [v for s in self._names for v in self.by_seed(s, c, self.quality).values()]
            for c in {c for _, c in self.runs if not c.clean}
        }
        mean = {c: math.fsum(v) / len(v) if v else math.inf for c, v in harm.items()}
        return tuple(sorted(harm, key=lambda c: (-(c.share or 0), mean[c], c.attack)))

    @cached_property
    def shares(self) -> tuple[float | None, ...]:
        return tuple(dict.fromkeys(c.share for c in self.attacks))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(strategy for strategy, _ in self.runs))

    @cached_property
    def strategies(self) -> tuple[str, ...]:
        """Best first: by the mean over the attacks, or over the clean runs of a grid without attacks."""

        def rank(strategy: str) -> tuple[float, str]:
            found = self.mean(strategy, self.attacks or self.cleans, self.quality)
            return (-found.mean if found else math.inf, strategy)

        return tuple(sorted(self._names, key=rank))

    @cached_property
    def rules(self) -> dict[str, str]:
        """Strategy -> its aggregator, whatever the grid calls the strategy."""
        first = {s: next(iter(cells.values())) for (s, _), cells in self.runs.items()}
        return {s: cell.label("rule") or cell.label("aggregator") for s, cell in first.items()}

    def ours(self, strategy: str) -> bool:
        return self.rules[strategy] == OURS

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(cell for cells in self.runs.values() for cell in cells.values())

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted({cell.seed for cell in self.cells}))

    @cached_property
    def protocols(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(filter(None, (cell.label("protocol") for cell in self.cells))))
