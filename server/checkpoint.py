"""State on disk: written whole or not at all, and read back bit-identically."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from common.config import RunConfig
from common.errors import CheckpointError
from common.settings import to_tree
from server.state import ServerState

FILE = "state.safetensors"


def fingerprint(config: RunConfig) -> str:
    """A hash of everything that decides a run's course; the number of rounds and evaluations do not."""
    tree = to_tree(config)
    tree.pop("checkpoint_every")
    tree["eval"].pop("every")
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Write beside ``path``, force to disk, then rename over it: a crash leaves the old file whole.

    Raises CheckpointError when the disk is full or the folder is not writable.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}; the last checkpoint is intact"
        ) from error


def save_state(folder: Path, config: RunConfig, state: ServerState, extra: Mapping[str, Any]) -> None:
    """Save ``state`` and the JSON-able ``extra`` under ``folder``."""
    meta = {"round": state.round, "config": fingerprint(config), "extra": dict(extra)}
    tensors = {name: t.contiguous() for name, t in state.tensors().items()}
    write_atomically(folder / FILE, save(tensors, metadata={"fedsieve": json.dumps(meta)}))


def load_state(folder: Path, config: RunConfig) -> tuple[ServerState, dict[str, Any]]:
    """State and extra as saved. Raises CheckpointError if damaged or of another run's settings."""
    path = folder / FILE
    if not path.exists():
        raise CheckpointError(f"nothing to resume: {path} does not exist")
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            meta = json.loads(file.metadata()["fedsieve"])
            for name in file.keys():  # noqa: SIM118 - not a mapping
                tensors[name] = file.get_tensor(name)
        state = ServerState.from_tensors(int(meta["round"]), tensors)
        saved, extra = str(meta["config"]), dict(meta["extra"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if saved != fingerprint(config):
        raise CheckpointError(f"{path} belongs to a run with other settings; use its own config.yaml")
    return state, extra
