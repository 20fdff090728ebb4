"""One run on this machine, from a log to a result."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from attacks import Attack
from common.config import DataConfig, RunConfig
from common.data import Dataset
from common.errors import ConfigError
from common.settings import load
from experiments.engines import emulate
from experiments.main_module import refuse_in_worker
from experiments.progress import Bar
from fedsieve.frames import CALLED, is_frame, stored
from fedsieve.logs import Frame, called, placed, written
from fedsieve.result import Result, load_result
from fedsieve.settings import Part, configured, given_text, joined, path_of
from server.aggregators import Aggregator
from server.constraints import Constraint
from server.optimizers import Optimizer
from server.records.report import Listener

SETTINGS = (".yaml", ".yml")
LOGS = "a name, a path, a frame, a Dataset or a RunConfig"


def run(
    log: str | os.PathLike[str] | Dataset | RunConfig | Frame = "ml-100k",
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool = True,
    listeners: Sequence[Listener] = (),
    rounds: int | None = None,
    devices: int | None = None,
    aggregator: str | Part | Aggregator | None = None,
    constraints: Sequence[str | Part | Constraint] | None = None,
    optimizer: str | Part | Optimizer | None = None,
    attack: str | Part | Attack | None = None,
    share: float | None = None,
    model: str | Part | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Result:
    """Train and evaluate one federation in this process, every user of the log a device.

    Parameters
    ----------
    log
        What to train on: a known log (``ml-100k``, ``synthetic``, …), the path of one, a frame of Polars or
        pandas, a :class:`Dataset` (:func:`fedsieve.load_log`); or all settings at once, as a
        :class:`RunConfig` or a YAML file.
    out
        Folder of the run's files, which must hold no run; by default a temporary one that is deleted with
        the result.
    resume
        Go on from the checkpoint in ``out``, if there is one.
    progress
        A bar on a terminal and in a notebook; elsewhere nothing is shown.
    listeners
        Objects with ``on_round(report, state)`` and ``on_evaluation(evaluation)``, told after each.
    rounds, devices
        ``train.rounds``, and ``train.devices_per_round``: devices that train in each.
    aggregator, constraints, optimizer
        The strategy: names, ``{"name": …, parameter: …}`` or objects of :mod:`fedsieve.aggregators`,
        :mod:`fedsieve.constraints` and :mod:`fedsieve.optimizers`.
    attack, share
        What the malicious devices do, a name or an object of :mod:`fedsieve.attacks`; and their share of all
        devices, 0 to 1.
    model
        ``sasrec``, ``gru4rec``, or ``{"name": …, parameter: …}``.
    seed
        Of every draw.
    settings, more
        Any other setting by its dotted name, as in ``settings={"train.local_steps": 2}``; the names are those
        of ``fedsieve run --set``.

    Returns
    -------
    Result
        Metrics, frames, model and recommendations.

    Raises
    ------
    ConfigError
        A setting that does not exist (with the nearest) or has a wrong value.
    DataError
        The log cannot be read.
    RunError
        ``out`` holds a run already, the run cannot go on, or the script is being imported by a worker of
        :func:`fedsieve.compare`.
    CheckpointError
        ``out`` holds a checkpoint of another run.
    """
    refuse_in_worker("fedsieve.run")
    short = {
        "rounds": rounds,
        "devices": devices,
        "aggregator": aggregator,
        "constraints": constraints,
        "optimizer": optimizer,
        "attack": attack,
        "share": share,
        "model": model,
        "seed": seed,
    }
    config = configured(_base(log), joined(short, settings, more))
    if (isinstance(log, Dataset) or is_frame(log)) and config.data.path:
        raise ConfigError(f"data.path: the log is given as a {type(log).__name__}; leave it out")
    listeners = _listeners(listeners)
    folder = Path(tempfile.mkdtemp(prefix="fedsieve-")) if out is None else path_of(out, "out")
    try:
        if (path := _kept(log, config, folder)) is not None:
            data = config.data.model_copy(update={"path": path})
            config = config.model_copy(update={"data": data})
        with _quiet(), _told(config, progress) as bars:
            emulate(config, folder, resume, [*bars, *listeners])
        found = load_result(folder)
    except BaseException:
        if out is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if out is None:
        weakref.finalize(found, shutil.rmtree, folder, ignore_errors=True)
    return found


def _kept(log: object, config: RunConfig, folder: Path) -> str | None:
    """The path of a log in memory in the folder of its run, for whoever resumes it; None for any other."""
    if isinstance(log, Dataset):
        return written(log, folder)
    return stored(log, config.data.name, config.data.preparation, folder) if is_frame(log) else None


def _base(log: object) -> RunConfig:
    if isinstance(log, RunConfig):
        return log
    if isinstance(log, Dataset):
        return RunConfig(data=DataConfig(name=called(log.name)))
    if is_frame(log):
        return RunConfig(data=DataConfig(name=CALLED))
    if (path := path_of(log, "log", LOGS)).suffix in SETTINGS:
        return load(path)
    return RunConfig.model_validate({"data": placed(log)})


def _listeners(given: Sequence[Listener]) -> list[Listener]:
    every = list(given) if isinstance(given, Iterable) else [given]
    for one in every:
        if not all(callable(getattr(one, name, None)) for name in ("on_round", "on_evaluation")):
            raise ConfigError(
                f"listeners: expected objects with on_round and on_evaluation, found {given_text(one)}"
            )
    return every


@contextmanager
def _told(config: RunConfig, progress: bool) -> Iterator[list[Listener]]:
    console = Console()
    if not progress or not (console.is_terminal or console.is_jupyter):
        yield []
        return
    with Bar(config.strategy.aggregator.name, config.train.rounds, console, every=config.eval.every) as bar:
        yield [bar]


@contextmanager
def _quiet() -> Iterator[None]:
    """Flower's log without its news; warnings stay."""
    log = logging.getLogger("flwr")
    level = log.level
    log.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        log.setLevel(level)
