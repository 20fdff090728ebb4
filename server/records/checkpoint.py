"""State on disk: written whole or not at all, and read back bit-identically."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from common.config import RunConfig
from common.errors import CheckpointError, ConfigError, RunError
from common.settings import flattened, to_tree, validate
from common.wire.message import VERSION
from server.round.state import ServerState

FILE = "state.safetensors"
NODES = "nodes/"
"""What the names of tensors with a node's memory begin with."""

OWNER = 0o600
"""The mode of a checkpoint: it has the server's key, and what only its owner may know."""


FREE = frozenset(
    {
        *("device", "data.name", "data.path", "checkpoint_every", "eval.every", "eval.sample"),
        *("strategy.deadline_s", "strategy.wait_nodes", "strategy.wait_s"),
    }
)
"""What may change between two parts of a run: of the data the content counts, not where they lie."""

OLD_S = 3600.0
"""No write takes as long: its file beside is of one that was killed."""

MOST = 4
"""Changed settings that an error names."""


def check_settings(path: Path, saved: RunConfig, config: RunConfig) -> None:
    """Raise CheckpointError that names what differs from the run in ``path``: not FREE, nor more rounds."""
    if told := differing(saved, config, longer=True):
        raise CheckpointError(f"{path} belongs to a run with other settings: {told}; use its own config.yaml")


def differing(saved: RunConfig, config: RunConfig, longer: bool = False, free: Collection[str] = FREE) -> str:
    """What ``config`` has otherwise than ``saved``, beside ``free``, in a few words; empty if nothing.

    longer: more rounds are no difference.
    """
    before, now = _leaves(saved), _leaves(config)
    if longer and now["train.rounds"] > before["train.rounds"]:
        before["train.rounds"] = now["train.rounds"]
    names = [n for n in dict.fromkeys([*before, *now]) if n not in free and before.get(n) != now.get(n)]
    told = [f"{n} was {_short(before, n)}, given {_short(now, n)}" for n in names[:MOST]]
    if longer:
        told = [
            f"{one} (a run can only be extended)" if one.startswith("train.rounds ") else one for one in told
        ]
    more = [f"and {len(names) - MOST} more"] if len(names) > MOST else []
    return "; ".join(told + more)


def check_data(path: Path, saved: RunConfig, before: str, config: RunConfig, now: str) -> None:
    """Raise CheckpointError when the data are others: by their digests, or else by their names."""
    was, given = (one.data.path or one.data.name for one in (saved, config))
    if (before != now) if before and now else was != given:
        raise CheckpointError(
            f"{path} belongs to a run on other data: data was {was!r}, given {given!r} holds another log"
        )


def _leaves(config: RunConfig) -> dict[str, Any]:
    return {name: value for name, value in flattened(to_tree(config)) if not isinstance(value, dict)}


def _short(values: Mapping[str, Any], name: str) -> str:
    text = repr(values[name]) if name in values else "unset"
    return text if len(text) <= 60 else f"{text[:57]}..."


def write_atomically(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write beside ``path``, force to disk, then rename over it: a crash leaves the old file whole.

    The name beside it is of this write alone, so that of two writers the last has its whole file there; what
    killed writes left an hour ago goes. mode: of the file from its first byte on, less the umask. Raises
    CheckpointError when the disk is full or the folder is not writable.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in leftovers(path):
            with suppress(OSError):
                if time.time() - old.stat().st_mtime > OLD_S:
                    old.unlink()
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        intact = "; the last checkpoint is intact" if path.name == FILE else ""
        raise CheckpointError(f"cannot write {path}: {error.strerror}{intact}{remedy(error)}") from error
    finally:
        with suppress(OSError):  # gone where it has become ``path``
            temporary.unlink()


def leftovers(path: Path) -> list[Path]:
    """What writes of ``path`` that were killed left beside it, and what those of this moment have there."""
    ours = re.compile(re.escape(path.name) + r"\.[0-9a-f]{16}\.tmp")
    return [one for one in path.parent.glob("*.tmp") if ours.fullmatch(one.name)]


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
    data: str = "",
) -> None:
    """Save ``state``, the JSON-able ``extra`` and what the nodes of this process remember.

    data: the digest of the log or, where the server has no more, of the catalogue.
    """
    tensors = {name: t.cpu().contiguous() for name, t in state.tensors().items()}
    for node, kept in (memory or {}).items():
        tensors[f"{NODES}{node}"] = torch.frombuffer(bytearray(kept), dtype=torch.uint8)
    told = {"round": state.round, "settings": to_tree(config), "data": data, "extra": dict(extra)}
    meta = json.dumps({**told, "wire": VERSION})
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


def load_state(folder: Path, config: RunConfig, data: str = "") -> tuple[ServerState, dict[str, Any]]:
    """State and extra as saved, the nodes' memory as extra["memory"]: node -> bytes.

    Raises CheckpointError if damaged, or of a run with other settings or data, whose digest is ``data``.
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
        if "settings" not in meta:
            raise CheckpointError(f"{path} is of an earlier version, which kept no settings to compare")
        saved, digest_before, extra = validate(meta["settings"]), str(meta["data"]), dict(meta["extra"])
        kept = {name.removeprefix(NODES): t for name, t in tensors.items() if name.startswith(NODES)}
        if kept and meta.get("wire") != VERSION:
            raise CheckpointError(f"{path} is of an earlier version, whose nodes remember in another form")
        extra["memory"] = {int(node): t.numpy().tobytes() for node, t in kept.items()}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    except ConfigError as error:
        raise CheckpointError(f"{path} has settings that this version lacks: {error}") from error
    check_settings(path, saved, config)
    check_data(path, saved, digest_before, config, data)
    return state, extra


def restored(saved: ServerState, fresh: ServerState) -> ServerState:
    """``saved`` on the device of ``fresh``, once it has all that a state of this run's settings has.

    A rule's own state may grow as it learns; the other tensors keep their shapes. Raises CheckpointError.
    """
    found = saved.tensors()
    for name, tensor in fresh.tensors().items():
        if name not in found:
            raise CheckpointError(f"the saved state is damaged: {name} is missing")
        given, expected = list(found[name].shape), list(tensor.shape)
        if given != expected and not name.startswith("aggregator/"):
            raise CheckpointError(f"the saved state is damaged: {name} is {given}, expected {expected}")
    if fresh.model.codes is not None:  # they follow from the settings, and are not saved
        saved = replace(saved, model=replace(saved.model, codes=fresh.model.codes))
    return saved.to(fresh.model.table.device)
