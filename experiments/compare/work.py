"""What a process of the pool does: run a cell, or the honest rounds that cells share.

Until ``attack.start_round`` every device is honest, so two cells that differ in the attack alone have the
same run up to there. A cell that goes on from the shared state ends with the same bits as one that began
at round 1.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from common.config import RunConfig
from common.settings import load as load_settings
from common.settings import to_tree
from emulation.federation import as_run, federate, open_log
from experiments.compare.results import ROW, row, users
from experiments.pool import Job, Notes
from server.records.begun import LINES, MODEL
from server.records.checkpoint import FILE, load_state, save_state, write_atomically
from server.records.participation import stopped_clean
from server.records.report import Evaluation, Listener, RoundReport
from server.round.state import ServerState

BULKY = (MODEL, "audit.jsonl", "events")


def honest_part(config: RunConfig) -> RunConfig | None:
    """The run that ``config`` shares with others up to its attack's first round; None if there is none."""
    last = config.attack.start_round - 1
    if config.attack.name == "none" or not 0 < last < config.train.rounds:
        return None
    quiet = {"name": "control", "params": {}, "start_round": config.attack.start_round}
    attack = config.attack.model_copy(update=quiet)
    return config.model_copy(update={"attack": attack, "checkpoint_every": last})


def warm_up(config: RunConfig, folder: Path, listener: Listener) -> None:
    """Run the honest part ``config`` into ``folder`` and stop once its state is saved."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(_Reached):
        federate(config, folder, listeners=[listener, _Stop(config.checkpoint_every)])


def continue_from(folder: Path, honest: RunConfig, config: RunConfig, out: Path) -> None:
    """Make ``out`` a run of ``config`` that stands where the warm-up in ``folder`` ended.

    Raises CheckpointError when the warm-up is damaged.
    """
    honest, config = as_run(honest), as_run(config)
    state, extra = load_state(folder / "state", honest)
    out.mkdir(parents=True, exist_ok=True)
    for name in LINES:
        shutil.copyfile(folder / name, out / name)
    if (folder / "events").is_dir():
        shutil.copytree(folder / "events", out / "events", dirs_exist_ok=True)
    text = yaml.safe_dump(to_tree(config), sort_keys=False)
    write_atomically(out / "config.yaml", text.encode())
    memory = extra.pop("memory")
    save_state(out / "state", config, state, extra, memory)
    stopped_clean(out)  # what the warm-up sent after its checkpoint, this run does not send


def is_ready(folder: Path) -> bool:
    """Whether a warm-up has reached its end."""
    return (folder / "state" / FILE).exists()


class _Reached(Exception):
    pass


class _Stop:
    """Ends the run in the round after ``last``, whose state is then on disk."""

    def __init__(self, last: int) -> None:
        self.last = last

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        if report.round > self.last:
            raise _Reached

    def on_evaluation(self, evaluation: Evaluation) -> None:
        pass


@dataclass(frozen=True)
class CellWork:
    """Run a cell and write its row; ``shared`` is the folder of the warm-ups by name of the cell."""

    shared: dict[str, Path]
    light: bool

    def __call__(self, job: Job, notes: Notes) -> None:
        out = job.folder
        if (out / ROW).exists():  # an earlier owner was stopped while it tidied up
            tidy(out, self.light)
            return
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
    """The row of a run that has ended, then what is not kept: a folder with a row is a finished cell."""
    dataset = open_log(config)
    found = row(out, config, dataset) | users(out, config, dataset)
    write_atomically(out / ROW, json.dumps(found, indent=2).encode())
    tidy(out, light)


def tidy(out: Path, light: bool) -> None:
    """Remove what is not kept of a finished cell. Its state goes last: while it is there, this goes on."""
    if not (out / "state").exists():
        return
    for name in BULKY if light else ():
        path = out / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(out / "state", ignore_errors=True)
