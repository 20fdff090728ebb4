"""Whether somebody's run is in a folder: one that ended a round, or a comparison."""

from __future__ import annotations

from pathlib import Path

from server.records.checkpoint import FILE

LINES = ("metrics.jsonl", "audit.jsonl")
MODEL = "model.safetensors"
GRID, RECIPE, PAGE = "grid.yaml", "recipe.json", "leaderboard.html"
"""What the folder of a comparison has, that of a centralised run, and that of a leaderboard."""


def begun(folder: Path) -> bool:
    """Whether ``folder`` holds a run or a comparison that may be gone on with."""
    return any((folder / name).exists() for name in ("config.yaml", GRID)) and not in_vain(folder)


def in_vain(folder: Path) -> bool:
    """Whether a run began in ``folder`` and ended before its first round: it left settings alone."""
    sizes = [path.stat().st_size for name in LINES if (path := folder / name).exists()]
    saved = (f"state/{FILE}", MODEL, "summary.json")
    return sizes == [0] * len(LINES) and not any((folder / name).exists() for name in saved)
