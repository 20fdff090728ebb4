"""One writer a run: a lock on the run's folder, which the kernel takes back however the process ends."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path

from common.errors import RunError

_LOG = logging.getLogger(__name__)
PATIENCE_S = 30.0
"""A ServerApp whose SuperLink died takes some eight seconds to end (transport/orphan.py)."""


def hold(folder: Path, patience_s: float = PATIENCE_S) -> int:
    """Make ``folder`` and lock it; the descriptor to close in the end.

    Two servers that write one folder would mix their lines and checkpoints, and a run is resumed just when
    its former server may not have ended yet. Waits ``patience_s`` seconds for that. Raises RunError when
    the folder is still in use, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise RunError(f"--out {folder}: {error.strerror}") from error
    end, told = time.monotonic() + patience_s, False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(file)
                raise RunError(f"{folder} is in use by another run; stop that one first") from None
            if not told:
                _LOG.warning("%s is in use by another run; waiting for its end", folder)
                told = True
            time.sleep(0.1)
        except OSError as error:  # a file system without locks
            _LOG.warning("%s cannot be locked (%s): start no second run on it", folder, error.strerror)
            return file
        else:
            return file
