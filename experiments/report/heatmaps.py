"""Strategy × attack: what accuracy is left, and how exposed the targets are."""

from __future__ import annotations

from collections.abc import Callable

from experiments.report.naming import Condition, percent
from experiments.report.plots import Figure, Heatmap
from experiments.report.section import ER, RETAINED, Section


def retained(section: Section) -> Figure | None:
    """NDCG@10 as a share of the clean plain mean; NDCG@10 itself where the grid has no such run."""
    metric = section.quality
    if metric == RETAINED:
        title = "NDCG@10 retained"
        note = "Share of the clean run's NDCG@10: same data, model and seed, plain mean, no attack. "
        best = 1.0
    else:
        title = "NDCG@10"
        note = "The grid has no clean run of the plain mean, so this is NDCG@10 itself. "
        conditions = (*section.cleans, *section.attacks)
        found = [section.estimate(s, c, metric) for s in section.strategies for c in conditions]
        best = max((e.mean for e in found if e is not None), default=0.0) or 1.0
    note += "Blue is good. Best strategy on top, hardest attack on the left."
    return _figure(section, "retained", title, note, metric, (0.0, best), lambda _: True)


def exposure(section: Section) -> Figure | None:
    """ER@10 of the target items under the attacks that promote one, and without an attack."""
    note = (
        "Share of honest users without the target in their history who get it in their top 10. Blue is good."
    )
    return _figure(section, "exposure", "ER@10", note, ER, (1.0, 0.0), lambda c: c.targeted)


def _figure(
    section: Section,
    name: str,
    title: str,
    note: str,
    metric: str,
    ends: tuple[float, float],
    shown: Callable[[Condition], bool],
) -> Figure | None:
    variants = {}
    for share in section.shares or (None,):
        attacks = [c for c in section.attacks if c.share == share and shown(c)]
        if metric == ER:  # the hardest first by what this map shows
            attacks.sort(key=lambda c: -_mean(section, c, metric))
        if section.attacks and not attacks:
            continue
        columns = [*_clean(section, share), *attacks]
        cells = [[section.estimate(s, c, metric) for c in columns] for s in section.strategies]
        used = [j for j in range(len(columns)) if any(row[j] is not None for row in cells)]
        if used:
            variants["" if share is None else percent(share)] = Heatmap(
                title,
                section.strategies,
                [columns[j].attack for j in used],
                [[row[j] for j in used] for row in cells],
                *ends,
                strong=frozenset(filter(section.ours, section.strategies)),
            )
    return Figure(name, title, note, variants, "malicious share") if variants else None


def _clean(section: Section, share: float | None) -> list[Condition]:
    """The clean conditions of that share (one for each choice of targets), else the first."""
    return [c for c in section.cleans if c.share == share] or list(section.cleans[:1])


def _mean(section: Section, condition: Condition, metric: str) -> float:
    found = [v for s in section.strategies for v in section.by_seed(s, condition, metric).values()]
    return sum(found) / len(found) if found else 0.0
