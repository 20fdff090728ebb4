"""Every strategy beside the plain mean, and beside what honest interactions with the target bring."""

from __future__ import annotations

from experiments.report.accuracy import heatmaps
from experiments.report.contents import interval
from experiments.report.differences import beyond, beyond_plain, er_over_plain, ndcg_over_plain, of_oracle
from experiments.report.plots import Figure
from experiments.report.section import ER, NDCG, Metric, Section, share_retained
from experiments.report.tables import Column, Table, Value


def beyond_parity(section: Section) -> Figure | None:
    """ER@10 less that of `parity` under the same strategy; None where the grid has no such run."""
    note = (
        "ER@10 less what `parity` reaches under the same strategy with the same seed, share and target: each "
        "malicious device adds one interaction with the target and is honest otherwise. Above 0, cheating "
        "pays."
    )
    shown = set(section.promotions)
    if not shown:
        return None
    return heatmaps(section, "beyond", "ER@10 beyond parity", note, beyond, (0.5, 0.0), shown.__contains__)


def beside_table(section: Section) -> Table | None:
    """Every strategy beside the plain mean under the same attack, and beside what `parity` reaches."""
    if not any(map(section.plain_for, section.strategies)):
        return None
    heads = [Column(n, choose=True) for n in ("Strategy", "Attack")]
    heads += [Column("malicious", "percent", choose=True), Column("seeds", "d"), Column("NDCG@10")]
    shown: dict[Metric, Column] = {
        share_retained: Column("of the clean mean", ".3f"),
        of_oracle: Column("of the oracle", ".3f"),
        ndcg_over_plain: Column("less the mean's", "+.4f"),
        ER: Column("ER@10", ".3f"),
        beyond: Column("beyond parity", "+.3f"),
        beyond_plain: Column("beyond the mean's parity", "+.3f"),
        er_over_plain: Column("less the mean's ER@10", "+.3f"),
    }
    every = [(s, c) for c in (*section.cleans, *section.attacks) for s in section.strategies]
    if not any(of_oracle(section, s, c) for s, c in every):
        del shown[of_oracle]
    rows: list[list[Value]] = []
    for c in (*section.cleans, *section.attacks):
        for s in section.strategies:
            if (s, c) in section.runs:
                of_target = c.targeted and not c.clean
                row: list[Value] = [
                    s,
                    c.attack,
                    c.share,
                    len(section.runs[s, c]),
                    section.estimate(s, c, NDCG),
                ]
                for metric in shown:
                    itself = s == section.plain_for(s) and metric in (ndcg_over_plain, er_over_plain)
                    exposed = metric in (ER, beyond, beyond_plain, er_over_plain)
                    apart = metric in (beyond, beyond_plain) and c not in section.promotions
                    hidden = itself or apart or (exposed and not of_target)
                    row.append(None if hidden else section.estimate(s, c, metric))
                rows.append(row)
    note = (
        f"{interval(section)} Differences are taken seed by seed. `parity`: each malicious device adds one "
        "interaction with the target and is honest otherwise; beyond it is what cheating brings."
    )
    if of_oracle in shown:
        note += (
            " The oracle is the plain mean of the honest devices alone: under `slow_reply` no other answers."
        )
    return Table(
        "beside", "Beside the plain mean and parity", section.title, [*heads, *shown.values()], rows, note
    )
