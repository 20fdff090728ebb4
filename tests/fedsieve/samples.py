"""Runs small enough for a test, by the library alone."""

from __future__ import annotations

from typing import Any

import fedsieve

LOG = "devices=40,items=30,length=8"
SMALL: dict[str, Any] = {
    "data.path": LOG,
    "model.dim": 4,
    "model.max_len": 8,
    "model.blocks": 1,
    "train.slice_size": 20,
    "eval.every": 2,
    "attack.targets": ["#3"],
    "strategy.optimizer": "block_adam",
    "strategy.lr": 4e-3,
}


def small(log: Any = "synthetic", **more: Any) -> fedsieve.Result:
    """Four rounds of 16 devices on a made-up log."""
    settings = {
        k: v for k, v in SMALL.items() if k != "data.path" or (isinstance(log, str) and log == "synthetic")
    }
    settings |= more.pop("settings", {})
    return fedsieve.run(log, rounds=4, devices=16, settings=settings, **more)
