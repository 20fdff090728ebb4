"""State on disk: written whole or not at all, and read back bit-identically."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from common.config import RunConfig
from common.errors import CheckpointError, RunError
from common.settings import to_tree
from server.round.state import ServerState

FILE = "state.safetensors"
NODES = "nodes/"
"""What the names of tensors with a node's memory begin with."""

OWNER = 0o600
"""The mode of a checkpoint: it has the server's key, and what only its owner may know."""


def fingerprint(config: RunConfig) -> str:
    """A hash of all settings but how often to save and to evaluate, which do not change a run's course."""
    tree = to_tree(config)
    tree.pop("checkpoint_every")
    tree["eval"].pop("every")
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def write_atomically(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write beside ``path``, force to disk, then rename over it: a crash leaves the old file whole.

    mode: of the file from its first byte on, less the umask. Raises CheckpointError when the disk is full or
    the folder is not writable.
    """
    temporary = path.with_name(f"{path.name}.tmp")  # one name, so that a kill leaves at most one behind
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)  # what a kill left may have another mode
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}; the last checkpoint is intact{remedy(error)}"
        ) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """An OSError in the block becomes a RunError that names ``path`` and says what to do."""
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}{remedy(error)}") from error


def remedy(error: OSError) -> str:
    """What to do about it, where that is known."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "; make room there, or copy the folder to another disk, and resume the run" if full else ""


def save_state(
    folder: Path,
    config: RunConfig,
    state: ServerState,
    extra: Mapping[str, Any],
    memory: Mapping[int, bytes] | None = None,
) -> None:
    """Save ``state``, the JSON-able ``extra`` and what the nodes of this process remember."""
    tensors = {name: t.contiguous() for name, t in state.tensors().items()}
    for node, kept in (memory or {}).items():
        tensors[f"{NODES}{node}"] = torch.frombuffer(bytearray(kept), dtype=torch.uint8)
    meta = json.dumps({"round": state.round, "config": fingerprint(config), "extra": dict(extra)})
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"cannot write {folder}: {error.strerror}{remedy(error)}") from error
    write_atomically(folder / FILE, save(tensors, metadata=sealed(tensors, meta)), OWNER)


def sealed(tensors: Mapping[str, Tensor], meta: str) -> dict[str, str]:
    """What stands in the file's header: the JSON text ``meta`` and the digest of all that is saved."""
    return {"fedsieve": meta, "digest": digest(tensors, meta)}


def digest(tensors: Mapping[str, Tensor], meta: str) -> str:
    """A hash of text, names, types, shapes and values: a flipped bit must not pass for a trained model."""
    found = hashlib.blake2b(f"{len(meta)} {meta}\n".encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.numpy().tobytes())
    return found.hexdigest()


def load_state(folder: Path, config: RunConfig) -> tuple[ServerState, dict[str, Any]]:
    """State and extra as saved, the nodes' memory as extra["memory"]: node -> bytes.

    Raises CheckpointError if damaged or of another run's settings.
    """
    path = folder / FILE
    if not path.exists():
        raise CheckpointError(f"nothing to resume: {path} does not exist")
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
            for name in file.keys():  # noqa: SIM118 - not a mapping
                tensors[name] = file.get_tensor(name)
        if digest(tensors, header["fedsieve"]) != header["digest"]:
            raise ValueError("what it holds is not what was saved")
        meta = json.loads(header["fedsieve"])
        state = ServerState.from_tensors(int(meta["round"]), tensors)
        saved, extra = str(meta["config"]), dict(meta["extra"])
        kept = {name.removeprefix(NODES): t for name, t in tensors.items() if name.startswith(NODES)}
        extra["memory"] = {int(node): t.numpy().tobytes() for node, t in kept.items()}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if saved != fingerprint(config):
        raise CheckpointError(f"{path} belongs to a run with other settings; use its own config.yaml")
    return state, extra


def restored(saved: ServerState, fresh: ServerState) -> ServerState:
    """``saved``, once it has all that a state of this run's settings has. Raises CheckpointError.

    A rule's own state may grow as it learns; the other tensors keep their shapes.
    """
    found = saved.tensors()
    for name, tensor in fresh.tensors().items():
        if name not in found:
            raise CheckpointError(f"the saved state is damaged: {name} is missing")
        given, expected = list(found[name].shape), list(tensor.shape)
        if given != expected and not name.startswith("aggregator/"):
            raise CheckpointError(f"the saved state is damaged: {name} is {given}, expected {expected}")
    return saved
