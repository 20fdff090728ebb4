"""The folder of a run: its name where none is given, and one writer at a time.

The writer has a lock in it, which the kernel takes back however the process ends.
"""

from __future__ import annotations

import logging
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from common.config import RunConfig
from common.data.called import log_name
from common.errors import ConfigError, RunError

_LOG = logging.getLogger(__name__)
LONGEST_NAME = 120
"""Characters of a folder's name."""

LOCK = ".lock"
_TOLD = set[Path]()
"""Folders without a lock that were told of."""

PATIENCE_S = 30.0
"""A ServerApp whose SuperLink died takes some eight seconds to end (transport/orphan.py)."""


def folder_name(config: RunConfig, rule: str) -> str:
    """The default name of a run's folder: log, model, rule and attack, ``ml-100k-sasrec-sieve-sign_flip``."""
    attack = config.scenario()["attack"]
    attack = "no-attack" if attack == "none" else attack
    parts = (log_name(config.data), config.model.name, rule, attack)
    return "-".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-.") for part in parts)[:LONGEST_NAME]


def chosen_folder(config: RunConfig, out: str, resume: bool) -> str:
    """``out``, or a folder in ``runs/`` that no other run has: what runs, when, and eight digits by chance.

    For runs over the network, where who hands a run in need not see what is in the server's folders. Raises
    ConfigError for ``resume`` without ``out``: there is nothing to go on with in a new folder.
    """
    if resume and not out:
        raise ConfigError("resume: needs out, the folder on the server of the run to go on with")
    when = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    name = folder_name(config, config.strategy.aggregator.name)
    return out or f"runs/{name}-{when}-{secrets.token_hex(4)}"


class FolderInUse(RunError):
    """Another process writes the folder."""


def hold(folder: Path, patience_s: float = PATIENCE_S) -> BaseFileLock:
    """Make ``folder`` and lock it; the lock to release in the end (it ends with its last reference too).

    Two servers that write one folder would mix their lines and checkpoints, and a run is resumed just when
    its former server may not have ended yet. Waits ``patience_s`` seconds for that. Raises FolderInUse when
    the folder is still in use, RunError when it cannot be made.
    """
    make(folder)
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if patience_s > 0:
                _LOG.warning("%s is in use by another run; waiting for its end", folder)
            lock.acquire(timeout=patience_s, poll_interval=0.1)
    except Timeout:
        raise FolderInUse(f"{folder} is in use by another run; stop that one first") from None
    except (OSError, NotImplementedError) as error:  # a file system without locks
        why = getattr(error, "strerror", None) or error
        if folder not in _TOLD:
            _LOG.warning("%s cannot be locked (%s): start no second run on it", folder, why)
        _TOLD.add(folder)
    return lock


def make(folder: Path) -> None:
    """Make ``folder``, if it is not there. Raises RunError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "not a folder" if folder.exists() and not folder.is_dir() else error.strerror
        raise RunError(f"--out {folder}: {reason}") from error


def fresh(parent: Path, name: str) -> Path:
    """``parent/name``, or the first of ``name-2``, ``name-3``, … that does not exist."""
    number = 1
    while (folder := parent / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder
