"""What a process of the pool does with its job."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from common.config import RunConfig
from common.settings import load as load_settings
from emulation.federation import federate, open_log
from experiments.compare.row import row
from experiments.compare.warmup import continue_from, is_ready, warm_up
from experiments.jobs import Job, Notes
from server.records.checkpoint import FILE, write_atomically

ROW = "row.json"
BULKY = ("model.safetensors", "audit.jsonl", "events")


@dataclass(frozen=True)
class CellWork:
    """Run a cell and write its row; ``shared`` is the folder of the warm-ups by name of the cell."""

    shared: dict[str, Path]
    light: bool

    def __call__(self, job: Job, notes: Notes) -> None:
        out = job.folder
        warm = self.shared.get(job.key)
        if not (out / "state" / FILE).exists():
            shutil.rmtree(out, ignore_errors=True)
            if warm is not None and is_ready(warm):
                continue_from(warm, load_settings(warm / "config.yaml"), job.config, out)
        federate(job.config, out, resume=True, listeners=[notes])
        finish(job.config, out, self.light)


def train_warm_up(job: Job, notes: Notes) -> None:
    """Train the honest rounds that several cells share."""
    warm_up(job.config, job.folder, notes)


def finish(config: RunConfig, out: Path, light: bool) -> None:
    """The row of a run that has ended, written last: a folder with a row is a finished cell."""
    found = row(out, config, open_log(config))
    shutil.rmtree(out / "state", ignore_errors=True)
    for name in BULKY if light else ():
        path = out / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    write_atomically(out / ROW, json.dumps(found, indent=2).encode())
