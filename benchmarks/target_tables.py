"""The tables of ``docs/results/targets.md``, and the first page's: what the kept grids say of the sieve.

``clean`` what the sieve costs without an attack, ``attacked`` what it keeps under one, ``exposure`` what an
attacker gets, ``quarters`` what short histories keep. The word at the end of a row is worked out: *met* where
the mean over seeds is, *within chance* where the interval reaches the target, *missed* where it does not, and
*below* where there are too few seeds for an interval. ``promotion`` is the first page's: one grid a log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from experiments.report.differences import beyond, beyond_plain, er_over_plain, of_oracle
from experiments.report.names import Condition, percent
from experiments.report.reading import read_grid
from experiments.report.section import ER, NDCG, OURS, PARITY, Metric, Section, sections, share_retained
from experiments.report.statistics import Estimate, estimate
from experiments.report.tables import Column, Table, Value

GRIDS = (
    *("sparse", "sparse-full", "sparse-modes", "sparse-shares", "lastfm", "shares"),
    *("dense", "clean", "late", "late-parity", "ml-1m"),
)
BOARD = "leaderboard"
AGAIN = ("sparse-modes", "sparse-shares", "late-parity")
"""Grids without an attack of seeds that another has: they are not counted twice."""
SPLITS = {"test": NDCG, "validation": "valid.ndcg@10"}
QUARTER = "q1.ndcg@10"
KEPT, QUARTER_KEPT, REACH = 0.98, 0.97, 0.02
LARGE = 0.2
"""The share of malicious devices from which on the target under attack is .95, and below it .97."""

Run = tuple[str, int]
"""Grid and seed."""

HEAD = (Column("Log"), Column("Grid"), Column("Malicious"), Column("Seeds", "d"))
SAID = Column("Target")


def target_table(folder: Path, name: str) -> Table:
    """A table of grids that lie beside ``folder``. KeyError for another name."""
    if name not in MADE:
        raise KeyError(f"no table {name!r}; valid: {', '.join(MADE)}")
    return MADE[name](folder.parent)


def clean_table(folder: Path) -> Table:
    """What the sieve keeps of the plain mean's NDCG@10 without an attack, on both splits."""
    columns = (*HEAD, Column("Items"), Column("Kept", ".3f"), Column("Less the mean's", "+.4f"), SAID)
    rows: list[list[Value]] = []
    pooled: dict[tuple[str, str], tuple[dict[Run, float], dict[Run, float]]] = {}
    for head, section, condition in _cells(folder, GRIDS, lambda condition: condition.clean):
        for items, metric in SPLITS.items():
            kept, less = _against_mean(section, condition, metric)
            rows.append([*head, items, estimate(kept), estimate(less), said(estimate(kept), KEPT)])
            every = pooled.setdefault((section.data, items), ({}, {}))
            # Of several shares the first: other shares are the same runs on fewer users
            for seed in kept if head[1] not in AGAIN else ():
                every[0].setdefault((str(head[1]), seed), kept[seed])
                every[1].setdefault((str(head[1]), seed), less[seed])
    for (data, items), both in pooled.items():
        share, less_of = (estimate(dict(enumerate(of.values()))) for of in both)
        rows.append([data, "all of these", "", len(both[0]), items, share, less_of, said(share, KEPT)])
    note = (
        "Of the plain mean of the same grid, seed by seed. Target: 98 %. *All of these*: every run counts "
        "once, of whatever budget; the clean runs of `sparse-modes` and `late-parity` are those of `sparse` "
        "and `late`."
    )
    return Table("clean", "Without an attack", "", columns, rows, note)


def attacked_table(folder: Path) -> Table:
    """What the sieve keeps under each attack: of the oracle, or where there is none of the clean mean."""
    columns = (*HEAD, Column("Attack"), Column("Kept", ".3f"), Column("of"), SAID)
    rows: list[list[Value]] = []
    for head, section, condition in _cells(folder, (*GRIDS, BOARD), _hostile):
        oracle = section.estimate(OURS, condition, of_oracle)
        found = oracle or section.estimate(OURS, condition, share_retained)
        if found is None:  # neither was run in this grid
            continue
        target = 0.95 if (condition.share or 0) >= LARGE else 0.97
        of = "oracle" if oracle else "clean mean"
        rows.append([*head, condition.attack, found, of, said(found, target)])
    note = (
        "NDCG@10 of the sieve. The oracle is the plain mean of the honest devices alone. Target: 97 %, at "
        "20 % malicious 95 %. `parity` is no attack."
    )
    return Table("attacked", "Under attack", "", columns, rows, note)


def exposure_table(folder: Path) -> Table:
    """What share of the users gets the target under the sieve, and what cheating brings."""
    measures: dict[Metric, Column] = {
        ER: Column("ER@10", ".3f"),
        beyond: Column("beyond parity", "+.3f"),
        beyond_plain: Column("beyond the mean's parity", "+.3f"),
        er_over_plain: Column("less the mean's ER@10", "+.3f"),
    }
    columns = (*HEAD, Column("Attack"), *measures.values(), SAID)
    rows: list[list[Value]] = []
    for head, section, condition in _cells(folder, (*GRIDS, BOARD), _promoting):
        found = {metric: section.estimate(OURS, condition, metric) for metric in measures}
        knows = condition.kind in ("adaptive", "subgroup")
        text = _no_more(found[beyond], found[er_over_plain]) if knows else at_most(found[ER], REACH)
        rows.append([*head, condition.attack, *found.values(), text])
    note = (
        "Target of published attacks: at most 2 % of the users. Of `adaptive` and `subgroup`, which know the "
        "sieve: no more than `parity` within the interval, and no more than under the plain mean."
    )
    return Table("exposure", "Exposure", "", columns, rows, note)


def quarter_table(folder: Path) -> Table:
    """What the shortest quarter of histories keeps without an attack, and what it weighs."""
    columns = (
        *HEAD,
        *(Column("Shortest quarter keeps", ".3f"), SAID),
        Column("Its weight, of the longest's", ".3f"),
        Column("Target of the weight"),
    )
    rows: list[list[Value]] = []
    for head, section, condition in _cells(folder, GRIDS, lambda condition: condition.clean):
        kept, _ = _against_mean(section, condition, QUARTER)
        short, long = (section.by_seed(OURS, condition, f"weight.q{q}") for q in (1, 4))
        weight = estimate({seed: short[seed] / long[seed] for seed in short if long.get(seed)})
        rows.append([*head, estimate(kept), said(estimate(kept), QUARTER_KEPT), weight, said(weight, 0.95)])
    note = "Without an attack, seed by seed. Targets: 97 % of the accuracy, .95 of the weight."
    return Table("quarters", "The shortest quarter of histories", "", columns, rows, note)


FIRST = ("sparse", "lastfm", "dense", "ml-1m")
"""A grid of each log."""


def promotion_table(folder: Path) -> Table:
    """Who gets the target, under the plain mean and under the sieve, and what cheating brings there."""
    names = ("label_to_target", "adaptive", PARITY)
    columns = [Column("Log"), Column("Malicious"), *(Column(f"{name}: mean, sieve") for name in names)]
    columns.append(Column("adaptive beyond parity, points", "+.1f"))
    rows: list[list[Value]] = []
    for grid in FIRST:
        (section,), _ = sections(read_grid(folder / grid))
        share = max(c.share or 0 for _, c in section.runs)
        row: list[Value] = [section.data, percent(share)]
        for name in names:
            both = [
                section.estimate(rule, Condition(name, share), ER) for rule in (section.plain or "", OURS)
            ]
            row.append(", ".join(f"{100 * one.mean:.0f} %" if one else "–" for one in both))
        gain = section.estimate(OURS, Condition("adaptive", share), beyond)
        rows.append([*row, gain and estimate({seed: 100 * v for seed, v in gain.seeds.items()})])
    note = (
        "Share of the honest users who get the target in their first ten (ER@10). `label_to_target` is a "
        "published attack, `adaptive` knows the sieve. `parity` is no attack: each malicious device adds one "
        "honest interaction with the target. ± is the 95 % confidence interval (t) over three seeds."
    )
    return Table("promotion", "Promotion", "", columns, rows, note)


MADE: Mapping[str, Callable[[Path], Table]] = {
    "clean": clean_table,
    "attacked": attacked_table,
    "exposure": exposure_table,
    "quarters": quarter_table,
    "promotion": promotion_table,
}


def said(found: Estimate | None, target: float) -> str:
    """How a measurement stands to a least value."""
    if found is None:
        return "–"
    if found.mean >= target:
        return "met"
    if found.half is None:
        return "below"
    return "within chance" if found.high >= target else "missed"


def at_most(found: Estimate | None, target: float) -> str:
    """How a measurement stands to a largest value."""
    if found is None:
        return "–"
    return said(Estimate(-found.mean, found.half, found.n), -target).replace("below", "above")


def _no_more(parity: Estimate | None, mean: Estimate | None) -> str:
    """The worse of two: beyond `parity`, and beyond what the plain mean gives the same attacker."""
    both = [at_most(one, 0.0) for one in (parity, mean)]
    return next((text for text in ("missed", "above", "within chance", "met") if text in both), "–")


def _hostile(condition: Condition) -> bool:
    return not condition.clean and condition.kind not in (PARITY, "slow_reply")


def _promoting(condition: Condition) -> bool:
    return _hostile(condition) and condition.targeted


def _cells(
    folder: Path, grids: Sequence[str], wanted: Callable[[Condition], bool]
) -> Iterator[tuple[list[Value], Section, Condition]]:
    """The conditions of every grid in which the sieve was run, and the beginning of their row."""
    for grid in grids:
        found, _ = sections(read_grid(folder / grid))
        for section in found:
            chosen = [c for s, c in section.runs if s == OURS and wanted(c)]
            for condition in sorted(chosen, key=lambda c: (c.share or 0, c.attack)):
                seeds = len(section.runs[OURS, condition])
                yield [section.data, grid, percent(condition.share or 0), seeds], section, condition


def _against_mean(
    section: Section, condition: Condition, metric: str
) -> tuple[dict[int, float], dict[int, float]]:
    """By seed, what the sieve has of the plain mean's metric under a condition, and what more or less."""
    mine = section.by_seed(OURS, condition, metric)
    plain = section.by_seed(section.plain_for(OURS) or "", condition, metric)
    both = [seed for seed in mine if plain.get(seed)]
    return {s: mine[s] / plain[s] for s in both}, {s: mine[s] - plain[s] for s in both}
