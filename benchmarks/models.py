"""Models on logs, federated and centralised: what the tables of docs/results/models.md are made of.

``python -m benchmarks.models [--logs ml-100k …] [--models sasrec …] [--how federated centralised]
[--seeds 0 1 2] [--out runs/models] [--workers N] [--set K=V …] [--keep] [--load TEXT]``: a federated run is
the shipped config of the log (:data:`CONFIGS`) with that model and the plain mean; a centralised one is its
reference (:data:`RECIPES`). Finished runs in --out are not repeated. --keep adds their rows to
docs/results/data/models, in place of those of the same run, and ``python -m benchmarks.results_pages`` writes
the page.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from benchmarks.machine import made_on
from benchmarks.model_tables import AXES, RESULTS, kept
from common.config import RunConfig
from common.models import MODELS
from common.settings import load
from emulation.federation import prepared
from experiments.centralised import Recipe, centralise
from experiments.engines import emulate, reported
from experiments.floors import floors as floors_of
from experiments.pool import Job, Notes
from experiments.progress import run_all
from server.records.checkpoint import write_atomically

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "results" / "data" / "models"


def recipe(epochs: int, rate: float, batch: int = 256) -> Recipe:
    """The rate falls from two fifths of the epochs on, as in a federation; the best model is kept."""
    return Recipe(epochs=epochs, patience=epochs, batch=batch, rate=rate, decay_from=0.4)


RECIPES: Mapping[str, Recipe] = {
    "ml-100k": recipe(120, 0.005, batch=64),  # on validation .1178; 160 epochs of .012 and 256 users: .1170
    "lastfm": recipe(90, 0.01),
    "ml-1m": recipe(45, 0.005, batch=64),
    "amazon-beauty": recipe(20, 0.01),
    "amazon-sports": recipe(20, 0.01),
}
"""Validation items chose those of ml-100k and amazon-beauty; the others are the first that were run."""
LOGS = tuple(RECIPES)
CONFIGS = {
    ("ml-1m", "sasrec"): "ml-1m-long",
    ("ml-1m", "esasrec"): "ml-1m-esasrec",
    ("amazon-beauty", "sasrec"): "amazon-beauty-long",
    ("amazon-beauty", "esasrec"): "amazon-beauty-long",
}
"""Shipped configs of a log and a model that are more accurate than the log's own."""


@dataclass(frozen=True)
class Run:
    """One run of the table."""

    log: str
    model: str
    how: str
    seed: int
    config: RunConfig = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.log}-{self.model}-{self.how}-seed{self.seed}"


@dataclass(frozen=True)
class Training:
    """Trains a run in a process of the pool: a federation, which goes on if it was begun, or one program."""

    recipes: Mapping[str, Recipe]

    def __call__(self, job: Job, notes: Notes) -> None:
        if (recipe := self.recipes.get(job.key)) is None:
            emulate(job.config, job.folder, True, listeners=[notes])
        else:
            shutil.rmtree(job.folder, ignore_errors=True)  # it keeps no checkpoint
            reported(partial(centralise, recipe=recipe))(job.config, job.folder, listeners=[notes])


def runs_of(
    logs: Sequence[str], models: Sequence[str], hows: Sequence[str], seeds: Sequence[int], more: Sequence[str]
) -> list[Run]:
    """Every combination; ``more`` are settings on top of them."""
    found = []
    for log in logs:
        for model in models:
            for how in hows:
                path = ROOT / "configs" / f"{CONFIGS.get((log, model), log)}.yaml"
                settings = [f"model.name={model}", "strategy.aggregator=mean", *more]
                for seed in seeds:
                    config = load(path, [*settings, f"seed={seed}"])
                    found.append(Run(log, model, how, seed, config))
    return found


def row(run: Run, summary: Mapping[str, Any], about: Mapping[str, str]) -> dict[str, Any]:
    """Figures of a finished run; ``users`` is half the 95 % interval over the users of its test."""
    epochs = summary.get("best_epoch", summary["rounds"])
    asked = epochs * run.config.train.devices_per_round / summary["evaluated_devices"]
    low, high = summary["intervals"]["ndcg@10"]
    figures = {
        f"{part}.{name}": summary[part][name] for part in ("valid", "test") for name in ("hr@10", "ndcg@10")
    }
    return {
        **{axis: getattr(run, axis) for axis in AXES},
        "passes": float(epochs) if run.how == "centralised" else asked,
        **figures,
        "users": (high - low) / 2,
        "seconds": summary["seconds"],
        "protocol": summary["protocol"],
        **about,
    }


def floors(run: Run, about: Mapping[str, str]) -> list[dict[str, Any]]:
    """Popularity and Markov-1 on all devices of a run's log, as rows."""
    dataset, _ = prepared(run.config)
    return [
        {
            **dict(zip(AXES, (run.log, name, "floor", 0), strict=True)),
            **{f"test.{metric}": found[metric] for metric in ("hr@10", "ndcg@10")},
            **about,
        }
        for name, found in floors_of(dataset).items()
    ]


def keep(rows: Sequence[Mapping[str, Any]], place: Path) -> None:
    """Add rows to those that are kept, in place of rows of the same run."""
    place.mkdir(parents=True, exist_ok=True)
    known = {tuple(one[axis] for axis in AXES): one for one in kept(place)}
    known |= {tuple(one[axis] for axis in AXES): dict(one) for one in rows}
    table = pl.DataFrame([known[key] for key in sorted(known)], infer_schema_length=None)
    write_atomically(place / RESULTS, table.write_csv().encode())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--logs", nargs="+", choices=LOGS, default=LOGS)
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=tuple(MODELS))
    parser.add_argument("--how", nargs="+", choices=("federated", "centralised"), default=("federated",))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/models"))
    parser.add_argument("--workers", type=int, default=0, help="runs at a time; 0: one a core")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="K=V")
    parser.add_argument("--keep", action="store_true", help="write their rows to docs/results/data")
    parser.add_argument("--load", default="", help="what else the machine did meanwhile")
    args = parser.parse_args(arguments)
    runs = runs_of(args.logs, args.models, args.how, args.seeds, args.overrides)
    left = {one.name: one.config for one in runs if not (args.out / one.name / "summary.json").exists()}
    recipes = {one.name: RECIPES[one.log] for one in runs if one.how == "centralised"}
    if left:
        run_all(left, args.out, Console(), args.workers, resume=True, work=Training(recipes))
    about, rows = made_on(args.load), []
    for one in runs:
        summary = json.loads((args.out / one.name / "summary.json").read_text(encoding="utf-8"))
        rows.append(row(one, summary, about))
        test, valid = summary["test"], summary["valid"]["ndcg@10"]
        print(f"{one.name}: valid NDCG@10 {valid:.4f}; test {test['hr@10']:.4f} / {test['ndcg@10']:.4f}")
    if args.keep:
        logs = {one.log: one for one in runs}
        keep([*rows, *(line for one in logs.values() for line in floors(one, about))], DATA)


if __name__ == "__main__":
    main()
