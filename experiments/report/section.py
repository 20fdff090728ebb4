"""The runs on one data set with one model: what cells are called, and numbers by strategy, attack."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from attacks import ATTACKS
from experiments.report.reading import Cell, Grid
from experiments.report.statistics import Estimate, estimate, seed_means

CLEAN = ("control", "none")
"""No attack. `control` first: there a clean run is measured on the users of the attacked ones."""
OURS = "sieve"
PLAIN = "mean"
SECTION_COLUMNS = ("rounds", "devices_per_round")
SECTION_SETTINGS = ("data.", "model.", "train.", "eval.")

NDCG, HR, ER = "test.ndcg@10", "test.hr@10", "er@10"
RETAINED = "retained"
"""NDCG@10 over that of the clean run: same section and seed, plain mean, no attack."""
PARITY = "parity"
BEYOND, BEYOND_PLAIN = "beyond_parity", "beyond_plain_parity"
"""ER@10 less that of `parity`, same seed, share and targets: under the same strategy, or the plain mean."""
OVER_PLAIN = {"ndcg_over_plain": NDCG, "er_over_plain": ER}
"""A metric less that of the plain mean under the same attack and seed."""


@dataclass(frozen=True, order=True)
class Condition:
    """An attack (with whatever of its settings varies) and the share of malicious devices."""

    attack: str
    share: float | None

    @property
    def kind(self) -> str:
        """The attack's name in the registry."""
        return re.split(r"[ (]", self.attack, maxsplit=1)[0]

    @property
    def clean(self) -> bool:
        return self.kind in CLEAN

    @property
    def targeted(self) -> bool:
        """Whether the attack promotes an item; an attack that is not in the registry may."""
        known = ATTACKS.get(self.kind)
        return known is None or known.goal == "targeted"


def percent(share: float) -> str:
    return f"{100 * share:g} %"


@dataclass(frozen=True)
class Names:
    """Which columns vary over the grid, and the names that cells get from them."""

    columns: frozenset[str]
    settings: frozenset[str]

    @classmethod
    def of(cls, cells: Iterable[Cell]) -> Names:
        cells = list(cells)
        names = ("rounds", "devices_per_round", "start_round", "aim")
        settings = {name for cell in cells for name in cell.settings}
        return cls(
            frozenset(n for n in names if len({c.label(n) for c in cells}) > 1),
            frozenset(n for n in settings if len({c.settings.get(n, "") for c in cells}) > 1),
        )

    def section(self, cell: Cell) -> tuple[str, str, str]:
        """(data, model, settings of the protocol that vary)."""
        more = [f"{n}={cell.label(n)}" for n in SECTION_COLUMNS if n in self.columns]
        more += self._varying(cell, lambda name: name.startswith(SECTION_SETTINGS))
        return cell.label("data"), cell.label("model"), ", ".join(more)

    def strategy(self, cell: Cell) -> str:
        """The grid's name of the strategy, else ``rule + pre``; and the settings of it that vary."""
        named = cell.label("rule") != ""  # then the column `aggregator` is the whole name
        rule = " + ".join([cell.label("aggregator"), *([] if named else pre(cell))])
        other = (*SECTION_SETTINGS, "attack.")
        more = self._varying(cell, lambda name: not name.startswith(other))
        return f"{rule} ({', '.join(more)})" if more else rule

    def condition(self, cell: Cell) -> Condition:
        attack = cell.label("attack")
        share = cell.label("malicious_share")
        aim = [cell.label("aim")] if "aim" in self.columns and cell.label("aim") else []
        more = [f"from {cell.label('start_round')}"] if "start_round" in self.columns else []
        more += self._varying(cell, lambda name: name.startswith("attack."))
        more = aim if attack in CLEAN else [*aim, *more]  # exposure without an attack is by target too
        name = f"{attack} ({', '.join(more)})" if more else attack
        return Condition(name, float(share) if share and attack != "none" else None)

    def _varying(self, cell: Cell, mine: Callable[[str], bool]) -> list[str]:
        found = sorted(n for n in self.settings if mine(n) and cell.settings.get(n))
        return [f"{n.partition('.')[2]}={cell.settings[n]}" for n in found]


def pre(cell: Cell) -> Sequence[str]:
    """Names of the pre-aggregators: written ``nnm``, ``nnm+clip``, ``nnm,clip`` or as a YAML list."""
    text = cell.label("pre")
    return [] if text.lower() == "none" else [p for p in re.split(r"[\s,+\[\]'\"]+", text) if p]


def slug(text: str) -> str:
    """A file name of the text."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text.replace("%", "pct")).strip("-.") or "all"


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

    @cached_property
    def plain(self) -> str | None:
        """The strategy that is the plain mean; None where the grid has none, or several that differ."""
        found = {
            s
            for (s, _), cells in self.runs.items()
            if self.rules[s] == PLAIN and not any(map(pre, cells.values()))
        }
        return found.pop() if len(found) == 1 else None

    def _reference(self, strategy: str, condition: Condition, metric: str) -> tuple[str, dict[int, float]]:
        """A metric that is a difference: the metric whose difference it is, and by seed what it is less."""
        if metric in OVER_PLAIN:
            own = OVER_PLAIN[metric]
            return own, self.by_seed(self.plain, condition, own) if self.plain else {}
        by = strategy if metric == BEYOND else self.plain
        mine = self.runs.get((strategy, condition), {})
        found: dict[int, float] = {}
        for (name, other), cells in self.runs.items():
            if name == by and other.kind == PARITY and other.share == condition.share:
                for seed, cell in cells.items():
                    same = seed in mine and mine[seed].label("targets") == cell.label("targets")
                    if same and ER in cell.values:
                        found[seed] = cell.values[ER]
        return ER, found

    def by_seed(self, strategy: str, condition: Condition, metric: str) -> dict[int, float]:
        if metric in (BEYOND, BEYOND_PLAIN, *OVER_PLAIN):
            own, less = self._reference(strategy, condition, metric)
            values = self.by_seed(strategy, condition, own)
            return {seed: value - less[seed] for seed, value in values.items() if seed in less}
        cells = self.runs.get((strategy, condition), {})
        found = {seed: self.value(cell, condition, metric) for seed, cell in sorted(cells.items())}
        return {seed: value for seed, value in found.items() if value is not None}

    def estimate(self, strategy: str, condition: Condition, metric: str) -> Estimate | None:
        return estimate(self.by_seed(strategy, condition, metric))

    def overall(self, strategy: str, conditions: Iterable[Condition], metric: str) -> dict[int, float]:
        """By seed, the mean over conditions."""
        return seed_means(
            {(c, seed): v for c in conditions for seed, v in self.by_seed(strategy, c, metric).items()}
        )

    def mean(
        self, strategy: str, conditions: Iterable[Condition], metric: str, unit: float = 1.0
    ) -> Estimate | None:
        """Over conditions, then over seeds; ``unit`` times the metric."""
        found = self.overall(strategy, conditions, metric)
        return estimate({seed: unit * value for seed, value in found.items()})

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


def sections(grid: Grid) -> tuple[list[Section], list[Cell]]:
    """The sections of the finished cells, and cells hidden by a later one of the same names and seed."""
    done = [cell for cell in grid.cells if cell.done]
    names = Names.of(done)
    found: dict[tuple[str, str, str], dict[tuple[str, Condition], dict[int, Cell]]] = {}
    hidden: list[Cell] = []
    for cell in done:
        runs = found.setdefault(names.section(cell), {})
        by_seed = runs.setdefault((names.strategy(cell), names.condition(cell)), {})
        if cell.seed in by_seed:
            hidden.append(by_seed[cell.seed])
        by_seed[cell.seed] = cell
    return [
        Section(data, model, setting, runs, grid.floors.get(data, {}))
        for (data, model, setting), runs in found.items()
    ], hidden
