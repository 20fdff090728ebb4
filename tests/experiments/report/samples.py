"""A made-up grid folder: as `fedsieve compare` writes it, with numbers from a formula."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
PROTOCOL = "full ranking, leave-one-out, seen items filtered; 12 rounds x 32 devices, adam 0.012"
TARGETED = ("label_to_target", "psmu", "pieck_uea", "dv_fsr", "a_hum")
FLOORS = {"popularity": {"hr@10": 0.086, "ndcg@10": 0.045}, "markov": {"hr@10": 0.144, "ndcg@10": 0.077}}
KS = (5, 10, 20)
METRICS = [f"{name}@{k}" for name in ("hr", "ndcg") for k in KS] + ["mrr"]
COLUMNS = [
    *("cell", "data", "model", "aggregator", "pre", "attack", "malicious_share", "targets", "seed", "rounds"),
    *("devices_per_round", "start_round", "protocol", "status", "error", "seconds"),
    *(f"{split}.{m}" for split in ("test", "valid") for m in METRICS),
    *(f"{name}@{k}" for name in ("er", "t_ndcg") for k in KS),
    *(f"q{q}.{m}@10" for q in (1, 2, 3, 4) for m in ("ndcg", "hr")),
    *("frozen_rows", "clipped_rows", "weight.honest", "weight.malicious"),
    *(f"weight.q{q}" for q in (1, 2, 3, 4)),
    *("rejected", "bytes_up", "bytes_down", "device_updates_per_second", "peak_rss_mb"),
]
Row = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """Which cells a grid has."""

    rules: Sequence[str] = ("mean", "krum", "median", "norm_clip", "sieve")
    attacks: Sequence[str] = ("control", "sign_flip", "label_to_target", "nan")
    shares: Sequence[float] = (0.2,)
    seeds: Sequence[int] = (0, 1, 2)
    data: Sequence[str] = ("synthetic",)
    models: Sequence[str] = ("sasrec",)
    rounds: Sequence[int] = (3, 6, 9, 12)


def rows(shape: Shape) -> list[Row]:
    return [
        row(data, model, rule, attack, share, seed)
        for data in shape.data
        for model in shape.models
        for rule in shape.rules
        for attack in shape.attacks
        for share in shape.shares
        for seed in shape.seeds
    ]


def row(data: str, model: str, rule: str, attack: str, share: float, seed: int, **more: Any) -> Row:
    """A finished cell. The mean breaks, ours holds, the median does not learn; seeds add noise."""
    name = "/".join(map(str, (data, model, rule, attack, share, seed, sorted(more.items()))))
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    strength = 0.15 + 0.85 * (zlib.crc32(attack.encode()) % 97) / 97
    weak = {"mean": 1.0, "sieve": 0.06}.get(rule, 0.25 + 0.6 * (zlib.crc32(rule.encode()) % 89) / 89)
    clean = {"mean": 0.100, "sieve": 0.097, "median": 0.04}.get(rule, 0.075 + 0.02 * (1 - weak))
    attacked = attack not in ("control", "none")
    harm = attacked * min(1.0, weak * strength * 5 * share)
    ndcg = clean * (1 - 0.8 * harm) + rng.normal(0, 0.002)
    exposed = min(1.0, harm * 1.3) * (attack in TARGETED) + 0.002 * rng.random()
    found: Row = dict.fromkeys(COLUMNS)
    found |= {
        "cell": hashlib.sha256(name.encode()).hexdigest()[:12],
        **{"data": data, "model": model, "aggregator": rule, "attack": attack, "malicious_share": share},
        **{"targets": "10,11", "seed": seed, "rounds": 12, "devices_per_round": 32, "start_round": 1},
        **{"protocol": PROTOCOL, "status": "done", "seconds": 20 + 30 * weak + rng.random()},
        **{f"{s}.{m}": ndcg * scale(m) for s in ("test", "valid") for m in METRICS},
        **{f"er@{k}": exposed * scale(f"er@{k}") for k in KS},
        **{f"t_ndcg@{k}": exposed * 0.7 * scale(f"er@{k}") for k in KS},
        **{
            f"q{q}.{m}@10": ndcg * scale(f"{m}@10") * (0.7 + 0.12 * q)
            for q in (1, 2, 3, 4)
            for m in ("ndcg", "hr")
        },
        **{"frozen_rows": 0.6 if rule == "median" else 0.0, "rejected": 0.2 if attack == "nan" else 0.0},
        **{"bytes_up": 3_255_552, "bytes_down": 448_512, "peak_rss_mb": 442.8},
        "device_updates_per_second": 190 + 10 * rng.random(),
    }
    if rule in ("mean", "krum", "sieve"):
        low = {"mean": 1.0, "krum": 0.5, "sieve": 0.05}[rule] if attacked else 1.0
        found |= {"weight.honest": 1 / 32, "weight.malicious": low / 32}
        found |= {f"weight.q{q}": (0.9 + 0.05 * q * (rule == "sieve")) / 32 for q in (1, 2, 3, 4)}
    if rule == "sieve":
        found["clipped_rows"] = 0.06 + 0.01 * rng.random()
    return found | more


def scale(metric: str) -> float:
    """Of NDCG@10; of ER@10 for exposure."""
    name, _, k = metric.partition("@")
    by_k = {"5": 0.8, "10": 1.0, "20": 1.2}.get(k, 1.0)
    return by_k * {"hr": 1.85, "mrr": 0.85, "er": 1 / 1.2}.get(name, 1.0)


def write(
    folder: Path,
    found: Iterable[Row],
    rounds: Sequence[int] = Shape.rounds,
    curves: bool = True,
    every: int | None = None,
) -> Path:
    """The files of a grid; empty values are empty cells. ``every``: eval.every, for cells with a config."""
    found = list(found)
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys([*COLUMNS, *(name for one in found for name in one)]))
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(found)
    (folder / "floors.json").write_text(json.dumps({one["data"]: FLOORS for one in found}))
    (folder / "grid.yaml").write_text("base: {train: {rounds: 12}}\nstrategies: [mean, sieve]\n")
    for one in found if curves else ():
        if one["status"] == "done":
            cell = folder / "cells" / one["cell"]
            write_curve(cell, one, rounds)
            if every is not None:
                (cell / "config.yaml").write_text(f"eval: {{every: {every}}}\n")
    return folder


def write_curve(folder: Path, one: Mapping[str, Any], rounds: Sequence[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for at in rounds:
        grown = at / max(rounds)
        valid = {m: one[f"valid.{m}"] * grown for m in METRICS} | {
            f"er@{k}": one[f"er@{k}"] * grown for k in KS
        }
        lines += [{"round": at, "skipped": False, "seconds": 0.1}, {"round": at, "split": "valid", **valid}]
    lines.append({"round": max(rounds), "split": "test", **{m: one[f"test.{m}"] for m in METRICS}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
