"""The results of a grid: a finished run as one row, the tables of all rows, and the floors beside them."""

from __future__ import annotations

import hashlib
import io
import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
import polars as pl
import torch

from common import metrics
from common.config import RunConfig
from common.data import Dataset, cut
from common.data.digest import with_cuts
from common.tasks import ACCURACY, EXPOSURES, GROUP_EXPOSURES
from emulation.federation import malicious_numbers, sides
from experiments import floors as rules
from experiments.beside import spread
from experiments.beyond import Judged, intervals, ranks_of
from experiments.run_files import json_lines, of_training, read_summary
from experiments.trained import open_run
from server.nodes.shares import quartiles
from server.records.checkpoint import write_atomically

OVER_USERS = ("hr@10", "ndcg@10", "mrr")
COSTS = ("seconds", "bytes_up", "bytes_down", "device_updates_per_second", "peak_rss_mb")
SERVER = ("seconds_admission", "seconds_aggregate")
"""What a server works on a round, beside waiting for replies."""
Row = dict[str, Any]
ROW = "row.json"

FLOORS = "floors.json"
FLOORS_KEY = "key"
PART: Literal["valid", "test"] = "test"
FILTERED = True
"""What a report shows its floors on: the test items, seen items left out of the ranking."""


def row(folder: Path, config: RunConfig, dataset: Dataset) -> Row:
    """Metrics, weights and costs of the run in ``folder``; rounds before the attack's first are left out of
    the weights, the rejections and the rows' shares."""
    summary = read_summary(folder)
    found: Row = {"protocol": summary["protocol"], "targets": ",".join(summary["targets"])}
    found |= {"rounds": summary["rounds"], "devices_per_round": config.train.devices_per_round}
    found |= {"start_round": config.attack.start_round, "pre": ",".join(p.name for p in config.strategy.pre)}
    for part in ("test", "valid"):
        found |= {f"{part}.{name}": summary.get(part, {}).get(name) for name in ACCURACY}
    found |= {name: summary.get(name) for name in (*EXPOSURES, *GROUP_EXPOSURES)}
    for quarter, values in sorted(summary.get("quartiles", {}).items()):
        found |= {f"{quarter}.{name}": values[name] for name in ("hr@10", "ndcg@10")}
    first = config.attack.start_round
    told = json_lines(folder / "metrics.jsonl")
    rounds = [line for line in told if "split" not in line and line["round"] >= first]
    found |= {name: _mean(line.get(name) for line in rounds) for name in ("frozen_rows", "clipped_rows")}
    found["server_seconds"] = _mean(
        sum(line[name] for name in SERVER) for line in rounds if all(name in line for name in SERVER)
    )
    found["skipped_rounds"] = sum(bool(line.get("skipped")) for line in rounds)
    audit = [line for line in of_training(json_lines(folder / "audit.jsonl")) if line["round"] >= first]
    found |= trust(audit, config, dataset)
    return found | {name: summary.get(name) for name in COSTS}


def users(folder: Path, config: RunConfig, dataset: Dataset) -> Row:
    """``users.METRIC``: half the bootstrap interval over the honest users of this run's own test."""
    if not config.eval.bootstrap:
        return {}
    run = open_run(folder)
    judged = Judged.of(dataset, spread(sides(config, dataset)[0]))
    found = intervals(run, ranks_of(run, judged)).get("intervals", {})
    return {f"users.{name}": (found[name][1] - found[name][0]) / 2 for name in OVER_USERS if name in found}


def trust(audit: Sequence[Mapping[str, Any]], config: RunConfig, dataset: Dataset) -> Row:
    """Mean weight of honest and malicious devices, of honest ones by quartile of history length, relative
    to a uniform share of the round; and the share of devices whose reply was refused."""
    bad = malicious_numbers(config, dataset)
    trained = cut.training(dataset.sequences, cut.parts(dataset)).lengths
    bounds = quartiles(torch.from_numpy(trained))  # as in the metrics: a bound belongs to the shorter side
    groups: dict[str, list[float]] = {name: [] for name in ("honest", "malicious", "q1", "q2", "q3", "q4")}
    sizes: dict[int, int] = {}
    for line in audit:
        if "weight" in line:
            sizes[line["round"]] = sizes.get(line["round"], 0) + 1
    for line in audit:
        if "weight" not in line:
            continue
        relative = line["weight"] * sizes[line["round"]]
        if line["device"] in bad:
            groups["malicious"].append(relative)
        else:
            groups["honest"].append(relative)
            place = np.searchsorted(dataset.devices, line["device"])
            quarter = bisect_left(bounds, trained[place]) + 1
            groups[f"q{quarter}"].append(relative)
    judged = [line for line in audit if line.get("reason") != "idle"]
    refused = sum(line["verdict"] == "refused" for line in judged)
    found: Row = {f"weight.{name}": _mean(values) for name, values in groups.items()}
    return found | {"rejected": refused / len(judged) if judged else None}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return fmean(known) if known else None


def write_results(folder: Path, rows: Sequence[Row]) -> None:
    """``results.csv`` and ``results.parquet``; a row's columns that others lack are empty there."""
    names = list(dict.fromkeys(name for one in rows for name in one))
    table = pl.DataFrame([{name: one.get(name) for name in names} for one in rows], infer_schema_length=None)
    write_atomically(folder / "results.csv", table.write_csv().encode())
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    write_atomically(folder / "results.parquet", buffer.getvalue())


def read_row(cell: Path) -> dict[str, Any] | None:
    """The row of a finished cell; None for one that has not ended."""
    path = cell / ROW
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def keep_floors(folder: Path, logs: Mapping[str, tuple[Dataset, str]]) -> None:
    """Write ``floors.json``: label -> key, Popularity and Markov-1 of the log (and its digest) of that name.

    What is there already stays, unless the log, the split, the ranking or the code that does it has changed
    or the file is damaged. Raises CheckpointError when ``folder`` cannot be written.
    """
    path = folder / FLOORS
    known = _read(path)
    found: dict[str, Any] = {}
    for label, (dataset, digest) in logs.items():
        key, old = floors_key(with_cuts(digest, dataset.cuts)), known.get(label)
        if isinstance(old, dict) and old.get(FLOORS_KEY) == key:
            found[label] = old
        else:
            found[label] = {FLOORS_KEY: key, **rules.floors(dataset, PART, FILTERED)}
    if found != known:
        write_atomically(path, json.dumps(found, indent=2).encode())


def floors_key(digest: str) -> str:
    """A hash of the log's digest, the split and the ranking; equal keys have equal floors."""
    text = json.dumps([digest, PART, FILTERED, cut.SHORTEST, ACCURACY, list(rules.FLOORS), _code()])
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=1)
def _code() -> str:
    found = hashlib.sha256()
    for module in (rules, cut, metrics):
        found.update(Path(str(module.__file__)).read_bytes())
    return found.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
