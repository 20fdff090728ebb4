"""The tables of ``docs/results/models.md``, from the runs of :mod:`benchmarks.models` that are kept there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from experiments.leaderboard.protocol import read_protocol
from experiments.report.statistics import Estimate, estimate
from experiments.report.tables import Column, Table, Value

RESULTS = "results.csv"
AXES = ("log", "model", "how", "seed")
FLOORS = {"popularity": "Popularity", "markov": "Markov-1"}
PUBLISHED = {
    ("ml-1m", "sasrec"): 0.182,  # Klenitskiy & Vasilev, RecSys 2023, softmax
    ("amazon-sports", "esasrec"): 0.0323,  # arXiv 2508.06450
    ("amazon-sports", "sasrec"): 0.0314,
}
"""NDCG@10 of centralised training that the leaderboard has no log for: full ranking, seen items filtered."""
COLUMNS = (
    *(Column("Log"), Column("Model"), Column("Trained"), Column("Seeds", ",.0f"), Column("Passes", ",.0f")),
    *(Column("HR@10"), Column("NDCG@10"), Column("± over users"), Column("Validation NDCG@10")),
    *(Column("Of its centralised", ".3f"), Column("Of the published", "percent")),
)


def kept(folder: Path) -> list[dict[str, Any]]:
    """The rows that are kept in ``folder``."""
    path = folder / RESULTS
    return pl.read_csv(path).to_dicts() if path.exists() else []


def model_table(folder: Path, name: str) -> Table:
    """``models``: a row for each log, model and way to train. Raises KeyError for another name."""
    if name != "models":
        raise KeyError(f"no table {name!r}; valid: models")
    published = PUBLISHED | {
        (one.data, one.model): one.value for one in read_protocol().head.published if one.metric == "NDCG@10"
    }
    rows = kept(folder)
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for one in rows:
        groups.setdefault((one["log"], one["model"], one["how"]), []).append(one)
    lines = [
        _line(key, runs, groups, published.get(key[:2])) for key, runs in sorted(groups.items(), key=_order)
    ]
    return Table("models", "Models", "", COLUMNS, lines)


def _order(entry: tuple[tuple[str, str, str], Any]) -> tuple[str, int, str, str]:
    """Floors first, then by model."""
    (log, model, how), _ = entry
    return log, int(model not in FLOORS), model, how


def _line(
    key: tuple[str, str, str],
    runs: Sequence[Mapping[str, Any]],
    groups: Mapping[tuple[str, str, str], Sequence[Mapping[str, Any]]],
    published: float | None,
) -> list[Value]:
    log, model, how = key
    if model in FLOORS:
        one = runs[0]
        rest = (one["test.hr@10"], one["test.ndcg@10"], None, None, None, None)
        return [log, FLOORS[model], "–", None, None, *rest]
    gain = _over(runs, "test.ndcg@10")
    reference = groups.get((log, model, "centralised"), ()) if how == "federated" else ()
    own = {int(one["seed"]): float(one["test.ndcg@10"]) for one in reference}
    return [
        *(log, model, how, float(len(runs)), _over(runs, "passes").mean),
        *(_over(runs, "test.hr@10"), gain, _over(runs, "users").mean, _over(runs, "valid.ndcg@10")),
        estimate({seed: value / own[seed] for seed, value in gain.seeds.items() if seed in own}),
        round(gain.mean / published, 3) if published else None,
    ]


def _over(runs: Sequence[Mapping[str, Any]], column: str) -> Estimate:
    found = estimate({int(one["seed"]): float(one[column]) for one in runs})
    assert found is not None  # a group has a run
    return found
