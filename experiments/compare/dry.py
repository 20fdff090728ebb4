"""``fedsieve compare --dry-run``: the cells of a grid, what of them is reused, and the hours it will take."""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from common.config import RunConfig
from common.machine import cores
from common.printable import counted
from emulation.federation import federate
from experiments.compare.command import NAMED, opened, shared_rounds, stretches
from experiments.compare.grid import GridConfig
from experiments.compare.results import read_row
from experiments.pool import Job
from experiments.units import seconds_text
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState

CALIBRATION_S = 10.0


def dry_run(
    of: Path | GridConfig,
    out: Path,
    console: Console,
    workers: int = 0,
    device: str = "",
    seconds: float = CALIBRATION_S,
) -> None:
    """Say what a comparison would do: cells, those that ``out`` has, shared rounds, hours. Writes nothing.

    The hours come from the cells in ``out``, or else from training the first one for ``seconds``.
    """

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    _, name, _, planned = opened(of, device)
    rows = {p.key: read_row(out / "cells" / p.key) for p in planned}
    for one in planned:
        say(f"{'to do' if rows[one.key] is None else 'done':<6} {one.key}  {one.title(NAMED)}")
    missing = [p for p in planned if rows[p.key] is None]
    shared, warm_ups = shared_rounds(missing, out)
    done = len(planned) - len(missing)
    cells = counted(len(planned), "cell")
    say(f"{name}: {cells}, {done} of them already in {out}/ and reused, {len(missing)} to do")
    if shared:
        open_ = f"{counted(len(warm_ups), 'warm-up')} {'is' if len(warm_ups) == 1 else 'are'} still to do"
        say(f"The honest rounds of {len(shared)} cells are shared: {open_}")
    if not missing:
        return
    jobs = [Job(p.key, "", p.config, out / "cells" / p.key) for p in missing]
    left = sum(one.after(one.first - 1) for one in stretches(jobs, shared, warm_ups).values())
    known = [(p.config, row) for p in planned if (row := rows[p.key]) is not None]
    if known:
        spent = sum(float(row["seconds"]) for _, row in known)
        each = spent / sum(c.train.rounds * c.train.devices_per_round for c, _ in known)
        source = f"from the {'one cell that is' if done == 1 else f'{done} cells that are'} done"
    else:
        each, source = calibrate(missing[0].config, seconds)
    at_once = min(workers or cores(), len(missing))
    span = seconds_text(left * each / at_once)
    say(f"About {span}, {counted(at_once, 'cell')} at a time: {counted(left, 'device update')}, {source}")


def calibrate(config: RunConfig, limit_s: float) -> tuple[float, str]:
    """Seconds that a device update takes, trained for ``limit_s`` after the first round, and from what.

    The first round, in which all is loaded, is not counted.
    """
    clock = _Clock(limit_s)
    evaluation = config.eval.model_copy(update={"every": 0})
    short = config.model_copy(update={"checkpoint_every": 0, "eval": evaluation})
    log = logging.getLogger("flwr")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder, suppress(_Over):
            federate(short, Path(folder) / "run", listeners=[clock])
    finally:
        log.setLevel(level)
    rounds = max(1, len(clock.ends) - 1)
    first = clock.ends[0] if len(clock.ends) > 1 else clock.began
    each = (clock.ends[-1] - first) / (rounds * config.train.devices_per_round)
    source = f"from {counted(rounds, 'round')} of the first cell"
    return each, f"{source} (other rules differ; evaluations come on top)"


class _Over(Exception):
    pass


class _Clock:
    """A listener that notes when rounds end, and ends the run ``limit_s`` seconds after the first."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s, self.began, self.ends = limit_s, time.monotonic(), list[float]()

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        self.ends.append(time.monotonic())
        if len(self.ends) > 1 and self.ends[-1] - self.ends[0] > self.limit_s:
            raise _Over

    def on_evaluation(self, evaluation: Evaluation) -> None:
        raise _Over
