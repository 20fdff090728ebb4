"""Tables and progress, as text; and runs in processes of their own, which end with their parent."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from rich.console import Console

from common.errors import RunError
from common.machine import cores
from emulation.federation import federate
from experiments.pool import Job, Notes
from experiments.progress import Bar, run_all
from experiments.run_files import summary_table, times
from experiments.units import seconds_text
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState
from tests.server.federation import BASE, Watch, config
from tests.server.interruption import in_round

METRICS = ("hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")
STATE: ServerState = None  # type: ignore[assignment]  # not looked at


def console(terminal: bool = False) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=160, legacy_windows=False), out


def evaluation(round_: int, split: str = "valid", exposed: float | None = None) -> Evaluation:
    exposure = {} if exposed is None else {"er@10": exposed}
    return Evaluation(round_, split, {"all": {"hr@10": 0.21, "ndcg@10": 0.11}}, exposure, 9)


def test_the_summary_table_shows_both_splits_and_the_exposure() -> None:
    summary = {
        **{"model": "sasrec", "data": "toy", "aggregator": "mean", "protocol": "full ranking"},
        "valid": {name: 0.1 + i / 100 for i, name in enumerate(METRICS)},
        "test": {name: 0.5 + i / 100 for i, name in enumerate(METRICS)},
        "target_items": {"B007": {"number": 7, "title": "The Film"}},
        **{"targets": ["B007", "#9"], "er@5": 0.01, "er@10": 0.02, "er@20": 0.03},
    }
    screen, out = console()
    screen.print(summary_table(summary))
    text = out.getvalue()
    for value in (
        "0.1000",
        "0.1600",
        "0.5000",
        "0.5600",
        "0.0100",
        "0.0300",
        "B007 The Film, #9",
        "full ranking",
    ):
        assert value in text
    assert "holders" not in text
    summary |= {"group": 41, "er_group@5": 0.04, "er_group@10": 0.05, "er_group@20": 0.0677}
    screen, out = console()
    screen.print(summary_table(summary))
    assert "ER@5/10/20, holders of 41" in " ".join(out.getvalue().split())
    assert "0.0677" in out.getvalue()
    del summary["er@10"], summary["er_group@10"], summary["valid"]
    screen, out = console()
    screen.print(summary_table(summary))
    assert "ER@" not in out.getvalue()
    assert "valid" not in out.getvalue()


def test_a_long_evaluation_shows_that_it_moves() -> None:
    ranking = logging.getLogger("client.ranking")
    screen, out = console()
    with Bar("mean", 20, screen):
        ranking.info("ranked for %d of %d devices, about %.0f s left", 10, 40, 3.2)
    assert "mean: ranked for 10 of 40 devices, about 3 s left" in out.getvalue()
    ranking.info("nobody listens")
    assert "nobody" not in out.getvalue()
    assert not ranking.handlers
    screen, out = console(terminal=True)
    with Bar("mean", 20, screen):
        ranking.info("ranked for 20 of 40 devices")
    assert "ranked for 20 of 40 devices" in out.getvalue()


def test_a_run_says_how_much_of_it_was_evaluation() -> None:
    assert times({"seconds": 90.4, "seconds_evaluation": 30.6}) == "90 s, 31 s of them evaluation"


def test_without_a_terminal_an_evaluation_is_a_line() -> None:
    screen, out = console()
    with Bar("mean", 20, screen, every=10) as bar:
        bar.on_round(RoundReport(10, {}), STATE)
        bar.on_evaluation(evaluation(10))
        bar.on_evaluation(evaluation(20, "test", exposed=0.4))
    assert out.getvalue().splitlines() == [
        "mean: round 10 of 20, valid HR@10 0.210 NDCG@10 0.110",
        "mean: round 20 of 20, test HR@10 0.210 NDCG@10 0.110 ER@10 0.400",
    ]


@pytest.mark.parametrize(
    ("rounds", "every", "begun", "told"),
    [
        (30, 0, 0, [3, 6, 9, 12, 15, 18, 21, 24, 27]),
        (200, 40, 0, [20, 60, 100, 140, 180]),  # an evaluation has a line of its own
        (1000, 20, 0, []),
        (4, 0, 0, [1, 2, 3]),
        (30, 0, 19, [20, 21, 24, 27]),
    ],
)
def test_without_a_terminal_each_tenth_of_a_run_is_a_line(
    rounds: int, every: int, begun: int, told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("server.records.progress.time.monotonic", lambda: now)
    screen, out = console()
    with Bar("mean", rounds, screen, every=every) as bar:
        for number in range(begun + 1, rounds + 1):
            now += 2.0
            bar.on_round(RoundReport(number, {"asked": 8.0, "admitted": 5.0}), STATE)
            if number == rounds or (every and number % every == 0):
                bar.on_evaluation(evaluation(number))
    lines = [line for line in out.getvalue().splitlines() if "HR@10" not in line]
    assert lines == [
        f"mean: round {number} of {rounds}, 5 of 8 devices admitted, about "
        f"{seconds_text(2 * (rounds - number))} left"
        for number in told
    ]


def test_on_a_terminal_there_is_a_bar_with_rounds_and_figures() -> None:
    screen, out = console(terminal=True)
    with Bar("mean", 20, screen) as bar:
        bar.on_round(RoundReport(10, {}), STATE)
        bar.on_evaluation(evaluation(10))
    text = out.getvalue()
    assert "10/20" in text
    assert "valid HR@10 0.210 NDCG@10 0.110" in text
    assert "round 10 of 20" not in text


def test_the_bar_ends_with_an_error() -> None:
    screen, _ = console(terminal=True)
    with pytest.raises(ZeroDivisionError), Bar("mean", 20, screen):
        raise ZeroDivisionError
    with Bar("again", 20, screen):  # a live display that was left open would refuse a second one
        pass


SCRIPT = """
import sys
from pathlib import Path
from rich.console import Console
from common.settings import load
from experiments.progress import run_all

if __name__ == "__main__":
    config = load(None, [*sys.argv[2:], "train.rounds=100000", "eval.every=0"])
    run_all({"one": config, "two": config}, Path(sys.argv[1]), Console(), workers=2)
"""


def family(root: int) -> set[int]:
    """Process numbers of all that descend from ``root``, itself left out."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found: set[int] = set()
    while more := {pid for pid, parent in parents.items() if parent in found | {root}} - found:
        found |= more
    return found


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and _command(pid)}


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()  # empty for a zombie
    except OSError:
        return b""


def test_no_process_outlives_a_killed_command(tmp_path: Path) -> None:
    script = tmp_path / "start.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    command = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "out"), *BASE],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children: set[int] = set()
    try:
        end = time.monotonic() + 240
        lines = [tmp_path / "out" / name / "metrics.jsonl" for name in ("one", "two")]
        while not all(path.exists() and path.stat().st_size for path in lines):
            assert command.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        children = family(command.pid)
        assert len(alive(children)) >= 3  # two runs and the process they were forked from
        command.send_signal(signal.SIGKILL)
        command.wait()
        end = time.monotonic() + 15
        while alive(children) and time.monotonic() < end:
            time.sleep(0.1)
        assert not alive(children)
    finally:
        command.kill()
        command.wait()
        for pid in alive(children):
            os.kill(pid, signal.SIGKILL)


def test_the_first_error_ends_all_and_names_its_run(tmp_path: Path) -> None:
    runs = {"good": config("train.rounds=2"), "bad": config("attack.targets=[99]")}
    with pytest.raises(RunError, match=r"bad: attack\.targets: the log has no item '99'"):
        run_all(runs, tmp_path, Console(file=io.StringIO()), workers=2)


def test_summaries_come_back_by_name(tmp_path: Path) -> None:
    out = io.StringIO()
    found = run_all({"one": config("train.rounds=2", "eval.every=1")}, tmp_path, Console(file=out))
    assert found["one"]["rounds"] == 2
    assert (tmp_path / "one" / "report.html").exists()
    assert "one: round 2, test HR@10" in out.getvalue()


@dataclass(frozen=True)
class Threads:
    """Work that writes how many threads its process has beside the files of a run."""

    def __call__(self, job: Job, notes: Notes) -> None:
        federate(job.config, job.folder)
        (job.folder / "threads").write_text(str(torch.get_num_threads()))


@pytest.mark.parametrize(("allowed", "found"), [("1", 1), ("64", cores()), ("many", cores()), ("0", cores())])
def test_a_run_takes_no_more_threads_than_it_was_given_and_no_more_than_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: str, found: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", allowed)
    runs = {"one": config("train.rounds=1", "eval.every=0")}
    run_all(runs, tmp_path, Console(file=io.StringIO()), workers=1, work=Threads())
    assert (tmp_path / "one" / "threads").read_text() == str(found)


def test_an_interrupted_run_goes_on_where_that_is_asked_for(tmp_path: Path) -> None:
    settings = config("train.rounds=4", "eval.every=0", "checkpoint_every=2")

    with pytest.raises(InterruptedError):
        federate(settings, tmp_path / "one", listeners=[Watch(in_round(3))])
    console = Console(file=io.StringIO())
    with pytest.raises(RunError, match="already holds a run"):
        run_all({"one": settings}, tmp_path, console)
    begun = (tmp_path / "one" / "config.yaml").stat().st_mtime_ns  # written anew by who starts over
    found = run_all({"one": settings}, tmp_path, console, resume=True)
    assert (tmp_path / "one" / "config.yaml").stat().st_mtime_ns == begun
    whole = federate(settings, tmp_path / "whole")
    assert found["one"]["test"] == whole["test"]
