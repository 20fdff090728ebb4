"""A grid small enough for a test."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from tests.server.federation import BASE

SETTINGS: dict[str, Any] = {
    key: yaml.safe_load(value)
    for key, value in (one.split("=", 1) for one in BASE)
    if key not in ("eval.targets", "strategy.aggregator")
}


def grid_file(folder: Path, **changes: Any) -> Path:
    """A grid over the made-up log, and the config it starts from, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.yaml").write_text("seed: 0\n")
    tree = {
        "configs": ["base.yaml"],
        "strategies": ["mean", "median"],
        "attacks": ["control", "sign_flip"],
        "set": {**SETTINGS, "train.rounds": 6, "attack.start_round": 4},
        **changes,
    }
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def screen() -> tuple[Console, io.StringIO]:
    """A console that is no terminal, and what it was told."""
    out = io.StringIO()
    return Console(file=out, width=200), out
