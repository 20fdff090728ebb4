"""The content hash of a cell: equal hashes are the same computation."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.registry import source_of
from common.settings import to_tree
from experiments.registries import REGISTRIES
from server.round.recipe import constraints_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("attacks", "client", "common", "emulation", "server", "transport")
"""What a run executes; the files of this package only start runs and show them."""
DIGITS = 12


@lru_cache(maxsize=1)
def code_version() -> str:
    """A hash of every source file that a run executes."""
    found = hashlib.sha256()
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    for path in paths:
        found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def brought_along(config: RunConfig) -> dict[str, str]:
    """Components of this run that are no part of this project, each with a hash of its package's source."""
    s, attack = config.strategy, config.attack.name
    names = {
        "aggregators": [s.aggregator.name],
        "pre": [part.name for part in s.pre],
        "attacks": [attack] if attack != "none" else [],
        "models": [config.model.name],
        "regularisers": [term.name for term in config.client.regularisers],
        "optimizers": [s.optimizer.name],
        "constraints": [part.name for part in constraints_of(config)],
    }
    found: dict[str, str] = {}
    for group, registry in REGISTRIES.items():
        for name in names[group]:
            kind: type = registry.find(name)
            if kind.__module__.partition(".")[0] not in PACKAGES:
                found[f"{registry.kind} {name}"] = hashlib.sha256(source_of(kind)).hexdigest()
    return found


def cell_key(config: RunConfig, data: str) -> str:
    """The name of a cell's folder: its settings (not how often to save, nor the device), code and data."""
    tree: dict[str, Any] = to_tree(config)
    if config.strategy.secret:  # in no dump, and it changes every draw
        tree["secret"] = hashlib.sha256(config.strategy.secret.encode()).hexdigest()
    for free in ("checkpoint_every", "device"):
        tree.pop(free)
    tree["outside"] = brought_along(config)
    text = json.dumps([tree, data, code_version()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
