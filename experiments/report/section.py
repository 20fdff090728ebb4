"""The runs on one data set with one model: numbers by strategy, attack and seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from experiments.report.names import CLEAN, Condition, Names, percent, pre
from experiments.report.reading import Cell, Grid
from experiments.report.statistics import Estimate, averaged, estimate, seed_means

OURS = "sieve"
PLAIN = "mean"
PARITY = "parity"
NDCG, HR, ER = "test.ndcg@10", "test.hr@10", "er@10"

Runs = Mapping[tuple[str, Condition], Mapping[int, Cell]]
Metric = str | Callable[["Section", str, Condition], dict[int, float]]
"""A column of the cells, or a function of them: section, strategy, condition -> a number by seed."""


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
    def cleans_of(self) -> dict[str, dict[tuple[int, float | None], float]]:
        """For each plain mean with clean runs their NDCG@10 by (seed, share); (seed, None): by any share."""
        found: dict[str, dict[tuple[int, float | None], float]] = {}
        for name in CLEAN:
            for (strategy, condition), cells in self.runs.items():
                for seed, cell in cells.items():
                    if strategy in self._plains and condition.kind == name and NDCG in cell.values:
                        own = found.setdefault(strategy, {})
                        own.setdefault((seed, condition.share), cell.values[NDCG])
                        own.setdefault((seed, None), cell.values[NDCG])
        return found

    def clean(self, strategy: str) -> dict[tuple[int, float | None], float]:
        """The clean runs that a strategy is measured by."""
        return self.cleans_of.get(self.plain_for(strategy) or "", {})

    def called(self, condition: Condition) -> str:
        """The attack, with the share of malicious devices where the section has several."""
        several = len({c.share for _, c in self.runs if c.share is not None}) > 1
        shown = several and condition.share is not None
        return f"{condition.attack}, {percent(condition.share or 0)}" if shown else condition.attack

    @cached_property
    def plain(self) -> str | None:
        """The strategy that is the plain mean: the only one, or of several the one called so; or None."""
        found = self._plains
        return next(iter(found)) if len(found) == 1 else PLAIN if PLAIN in found else None

    def plain_for(self, strategy: str) -> str | None:
        """The plain mean that a strategy is measured by: the one with its settings, if they vary."""
        same = [name for name in self._plains if self._varied[name] == self._varied.get(strategy)]
        return same[0] if len(same) == 1 else self.plain

    @cached_property
    def _plains(self) -> tuple[str, ...]:
        apart = {s for (s, _), cells in self.runs.items() if any(map(pre, cells.values()))}
        return tuple(s for s in self._names if self.rules[s] == PLAIN and s not in apart)

    @cached_property
    def _varied(self) -> dict[str, dict[str, str]]:
        """Strategy -> its settings beside the rule, of those that have a column."""
        first = {s: next(iter(cells.values())) for (s, _), cells in self.runs.items()}
        return {
            s: {name: value for name, value in cell.settings.items() if name.startswith("strategy.")}
            for s, cell in first.items()
        }

    def by_seed(self, strategy: str, condition: Condition, metric: Metric) -> dict[int, float]:
        if callable(metric):
            return metric(self, strategy, condition)
        cells = self.runs.get((strategy, condition), {})
        return {seed: cell.values[metric] for seed, cell in sorted(cells.items()) if metric in cell.values}

    def estimate(self, strategy: str, condition: Condition, metric: Metric) -> Estimate | None:
        return estimate(self.by_seed(strategy, condition, metric))

    def mean(
        self, strategy: str, conditions: Iterable[Condition], metric: Metric, unit: float = 1.0
    ) -> Estimate | None:
        """Over conditions, then over seeds; ``unit`` times the metric."""
        values: dict[tuple[Hashable, int], float] = {
            (c, seed): v for c in conditions for seed, v in self.by_seed(strategy, c, metric).items()
        }
        found = estimate({seed: unit * value for seed, value in seed_means(values).items()})
        return None if found is None else replace(found, over=frozenset(averaged(values)))

    @cached_property
    def promotions(self) -> tuple[Condition, ...]:
        """The attacks that promote an item, but for the yardstick; empty without a run of `parity`."""
        yardstick = any(c.kind == PARITY for c in self.attacks)
        return tuple(c for c in self.attacks if yardstick and c.targeted and c.kind != PARITY)

    def has(self, metric: str, conditions: Iterable[Condition] | None = None) -> bool:
        chosen = None if conditions is None else set(conditions)
        return any(
            metric in cell.values
            for (_, condition), cells in self.runs.items()
            if chosen is None or condition in chosen
            for cell in cells.values()
        )

    @cached_property
    def quality(self) -> Metric:
        """What strategies are judged by: the share retained, or NDCG@10 itself without a clean run."""
        return share_retained if self.cleans_of else NDCG

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


def share_retained(section: Section, strategy: str, condition: Condition) -> dict[int, float]:
    """NDCG@10 over that of the clean run: same section, seed and settings, plain mean, no attack."""
    own, clean = section.by_seed(strategy, condition, NDCG), section.clean(strategy)
    base = {seed: clean.get((seed, condition.share), clean.get((seed, None))) for seed in own}
    return {seed: value / of for seed, value in own.items() if (of := base[seed])}


def _same_but_for_rounds(one: Cell, other: Cell) -> bool:
    """Whether the rounds of an attack that is none are all that tells two clean runs apart."""
    names = ("attack.period", "attack.active", "attack.rest")

    def rounds(cell: Cell) -> tuple[str, ...]:
        return cell.label("start_round"), *(cell.settings.get(name, "") for name in names)

    def rest(cell: Cell) -> tuple[str, dict[str, str]]:
        return cell.label("targets"), {k: v for k, v in cell.settings.items() if k not in names}

    return rest(one) == rest(other) and rounds(one) != rounds(other)


def sections(grid: Grid) -> tuple[list[Section], list[Cell]]:
    """The sections of the finished cells, and cells hidden by a later one of the same names and seed."""
    done = [cell for cell in grid.cells if cell.done]
    names = Names.of(done)
    found: dict[tuple[str, str, str], dict[tuple[str, Condition], dict[int, Cell]]] = {}
    hidden: list[Cell] = []
    for cell in done:
        runs = found.setdefault(names.section(cell), {})
        condition = names.condition(cell)
        by_seed = runs.setdefault((names.strategy(cell), condition), {})
        other = by_seed.get(cell.seed)
        if other and not (condition.clean and _same_but_for_rounds(other, cell)):
            hidden.append(other)
        by_seed[cell.seed] = cell
    return [
        Section(data, model, setting, runs, grid.floors.get(data, {}))
        for (data, model, setting), runs in found.items()
    ], hidden
