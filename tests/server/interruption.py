"""Runs that are interrupted on purpose, and what makes two runs equal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from server.records.checkpoint import sealed
from server.records.report import Evaluation, RoundReport
from tests.server.federation import Watch, config, lines, run, same_model, timeless

ROUNDS = 7
CONFIG = config(f"train.rounds={ROUNDS}", "checkpoint_every=2", "strategy.aggregator=geometric_median")
Report = RoundReport | Evaluation


def in_round(number: int) -> Callable[[Report], bool]:
    return lambda found: isinstance(found, RoundReport) and found.round == number


def in_evaluation(number: int, split: str) -> Callable[[Report], bool]:
    return lambda found: isinstance(found, Evaluation) and (found.round, found.split) == (number, split)


def interrupted(out: Path, when: Callable[[Report], bool]) -> Path:
    with pytest.raises(InterruptedError):
        run(CONFIG, out, listeners=[Watch(when)])
    assert not (out / "summary.json").exists()
    return out


def summary(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    for key in ("seconds", "seconds_evaluation", "device_updates_per_second", "peak_rss_mb"):
        del found[key]
    for key in ("floors", "floor_devices", "target_items"):  # which commands add
        found.pop(key, None)
    return found


def equal_runs(one: Path, other: Path) -> None:
    assert same_model(one, other)
    for name in ("metrics", "audit"):
        assert timeless(lines(one, name)) == timeless(lines(other, name))
    assert summary(one) == summary(other)


def change_meta(state: Path, change: Callable[[dict[str, Any]], None], seal: bool = True) -> None:
    """Change what a checkpoint says beside its tensors; with ``seal`` as if it had been saved so."""
    with safe_open(state, framework="pt") as file:
        header = file.metadata()
    meta, tensors = json.loads(header["fedsieve"]), load_file(state)
    change(meta)
    text = json.dumps(meta)
    save_file(tensors, state, metadata=sealed(tensors, text) if seal else header | {"fedsieve": text})
