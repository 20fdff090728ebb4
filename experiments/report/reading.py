"""A grid folder as cells: ``results.csv`` (or ``results.parquet``), ``floors.json`` and ``grid.yaml``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from common.errors import RunError, nearest_file

NEEDED = ("cell", "data", "model", "aggregator", "attack", "seed", "status")
ROUNDS = ("rounds", "devices_per_round", "start_round")
LABELS = (*NEEDED, *ROUNDS, "rule", "pre", "malicious_share", "aim", "targets")
TEXTS = ("protocol", "error")
GROUPS = ("test.", "valid.", "users.", "q1.", "q2.", "q3.", "q4.", "weight.")
"""Prefixes of metrics; any other column with a dot is a setting that varies in the grid."""
METRICS = ("er@", "t_ndcg@", "er_group@")
FIGURES = (
    "seconds",
    "server_seconds",
    "frozen_rows",
    "clipped_rows",
    "rejected",
    "bytes_up",
    "bytes_down",
    "device_updates_per_second",
    "peak_rss_mb",
)
NAMED = {
    "data.name",
    "model.name",
    "strategy.aggregator",
    "strategy.pre",
    "attack.name",
    "attack.share",
    "attack.start_round",
    "train.rounds",
    "train.devices_per_round",
}
"""Settings that have a column of their own under another name."""


@dataclass(frozen=True)
class Cell:
    """One run of the grid. ``labels`` are texts, ``values`` the finite numbers; what is empty is absent."""

    labels: Mapping[str, str]
    values: Mapping[str, float]
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.labels["cell"]

    @property
    def seed(self) -> int:
        return int(self.labels["seed"])

    @property
    def done(self) -> bool:
        return self.labels["status"] == "done"

    def label(self, name: str) -> str:
        return self.labels.get(name, "")


Floors = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Grid:
    """All rows of a grid in the order of the table, with its floors and its settings as YAML."""

    folder: Path
    cells: tuple[Cell, ...]
    floors: Floors = field(default_factory=dict)
    settings: str = ""


def read_grid(folder: Path) -> Grid:
    """Read DIR. Raises RunError if it holds no results, or a file is damaged or lacks a column."""
    path = next((p for n in ("results.csv", "results.parquet") if (p := folder / n).is_file()), None)
    if path is None:
        if folder.is_dir():
            told = "no summary.json, which fedsieve run writes, and no results.csv of fedsieve compare"
        elif folder.exists():
            told = f"a file; expected its folder, {folder.parent}"
        else:
            told = f"no such folder{nearest_file(folder)}"
        raise RunError(f"no results in {folder}: {told}")
    try:
        # all as text: a content hash such as 123456789012 or 1e1234567890 must not become a number
        table = (
            pl.read_csv(path.read_bytes(), infer_schema=False)  # a path with [ ] would be read as a pattern
            if path.suffix == ".csv"
            else pl.read_parquet(path.read_bytes()).cast(pl.String)
        )
        floors = _floors(folder / "floors.json")
        grid = folder / "grid.yaml"
        settings = grid.read_text(encoding="utf-8") if grid.is_file() else ""
    except OSError as error:
        raise RunError(f"cannot read {error.filename or path}: {error.strerror or error}") from error
    except pl.exceptions.NoDataError:
        raise RunError(f"{path} holds no finished cell yet") from None
    except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(f"{folder} holds damaged results: {why}") from error
    if missing := [name for name in NEEDED if name not in table.columns]:
        raise RunError(f"{path}: no column {', '.join(missing)}; needed: {', '.join(NEEDED)}")
    if table.height == 0:
        raise RunError(f"{path} holds no finished cell yet")
    cells = tuple(_cell(row, path, line) for line, row in enumerate(table.to_dicts(), start=2))
    return Grid(folder, cells, floors, settings)


def _floors(path: Path) -> Floors:
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name}: expected an object by data set")
    return {data: _metrics(of) for data, of in found.items() if isinstance(of, dict)}


def _metrics(of: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """By floor; what stands beside them says what they were computed from."""
    return {name: found for name, found in of.items() if isinstance(found, dict)}


def _cell(row: Mapping[str, Any], path: Path, line: int) -> Cell:
    labels: dict[str, str] = {}
    values: dict[str, float] = {}
    settings: dict[str, str] = {}
    for name, text in row.items():
        if text is None or text == "":
            continue
        if name in LABELS or name in TEXTS:
            labels[name] = text
        elif name in FIGURES or name.startswith((*GROUPS, *METRICS)):
            if math.isfinite(number := _number(text, path, line, name)):
                values[name] = number
        elif "." in name and name not in NAMED:
            settings[name] = text
    if empty := [name for name in NEEDED if name not in labels]:
        raise RunError(f"{path}, line {line}: {', '.join(empty)} is empty")
    if not labels["seed"].isdecimal():
        raise RunError(f"{path}, line {line}: seed {labels['seed']!r} is not a whole number")
    _number(labels.get("malicious_share", "0"), path, line, "malicious_share")
    return Cell(labels, values, settings)


def _number(text: str, path: Path, line: int, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RunError(f"{path}, line {line}: {name} {text!r} is not a number") from None
