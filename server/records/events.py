"""TensorBoard events of a run, where it is installed: a view of its metrics, which must not hide why a run
fails."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.extras import install, lacks
from server.records.checkpoint import writing

_LOG = logging.getLogger(__name__)


class Events:
    """The writer of ``folder``; events of an earlier part of the run from ``first_round`` on are dropped.

    A thread writes them, so that a full disk shows later, and in any call. Raises RunError for it.
    """

    def __init__(self, folder: Path, first_round: int) -> None:
        self._folder = folder
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            if not lacks("report", error):
                raise
            _LOG.info("no TensorBoard events: %s", install("report"))
            return
        with writing(folder):
            self._writer = SummaryWriter(str(folder), purge_step=first_round)

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """One point of every curve. Raises RunError on a full disk."""
        if self._writer is None:
            return
        with writing(self._folder):
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name.replace('@', '_at_')}", value, step)

    def close(self) -> None:
        """Write what is left. A failure is only logged: it may be the second one, and not the cause."""
        if self._writer is None:
            return
        try:
            self._writer.close()
        except OSError as error:
            _LOG.warning("the last events of %s are lost: %s", self._folder, error)
