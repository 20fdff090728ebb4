"""One writer a run: a lock in the run's folder, which the kernel takes back however the process ends."""

from __future__ import annotations

import logging
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from common.errors import RunError

_LOG = logging.getLogger(__name__)
LOCK = ".lock"
PATIENCE_S = 30.0
"""A ServerApp whose SuperLink died takes some eight seconds to end (transport/orphan.py)."""


def hold(folder: Path, patience_s: float = PATIENCE_S) -> BaseFileLock:
    """Make ``folder`` and lock it; the lock to release in the end (it ends with its last reference too).

    Two servers that write one folder would mix their lines and checkpoints, and a run is resumed just when
    its former server may not have ended yet. Waits ``patience_s`` seconds for that. Raises RunError when
    the folder is still in use, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--out {folder}: {error.strerror}") from error
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if patience_s > 0:
                _LOG.warning("%s is in use by another run; waiting for its end", folder)
            lock.acquire(timeout=patience_s, poll_interval=0.1)
    except Timeout:
        raise RunError(f"{folder} is in use by another run; stop that one first") from None
    except (OSError, NotImplementedError) as error:  # a file system without locks
        why = getattr(error, "strerror", None) or error
        _LOG.warning("%s cannot be locked (%s): start no second run on it", folder, why)
    return lock
