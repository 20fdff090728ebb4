"""A server that dies, and a disk that is full: the run goes on from its checkpoint, to the same model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.settings import load as settings
from experiments.deployed import Plan, stage
from experiments.processes import wait_until
from server.records.checkpoint import FILE, leftovers, load_state
from tests.deployment.federation import (
    RUN_S,
    Line,
    Place,
    assert_same_bits,
    assert_same_run,
    federation,
    in_this_process,
    lines,
    rounds,
    timeless,
)

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(900)]  # four runs in one test
ROUNDS = 10
SETTINGS = (f"train.rounds={ROUNDS}", "checkpoint_every=2", "eval.every=4", "model.dim=32")


@dataclass(frozen=True)
class Whole:
    """Three nodes, and their run that nothing interrupted."""

    place: Place
    run: Plan
    out: Path

    def assert_equal(self, out: Path) -> None:
        """Bit for bit the same model, and line for line the same course."""
        assert_same_bits(self.out, out)
        for name in ("metrics.jsonl", "audit.jsonl"):
            assert timeless(lines(out / name)) == timeless(lines(self.out / name))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    with federation(tmp_path_factory.mktemp("whole")) as place:
        run = place.plan(3, 0, *SETTINGS)
        for node in run.nodes:
            place.local.warm_node(node)
        out = place.folder / "uninterrupted"
        place.run(run, out)
        yield Whole(place, run, out)


def saved(out: Path) -> int:
    """The round of the checkpoint, which must be whole."""
    return load_state(out / "state", settings(out / "config.yaml"))[0].round


def assert_kept(told: list[Line], out: Path) -> None:
    """The run went on: a run that began anew would have the same bits, and not the same seconds."""
    assert rounds(out)[: len(told)] == told


def deadly(folder: Path, moment: str) -> Path:
    """The app with a ServerApp that is killed at a moment of ``killing.py``."""
    app = stage(folder)
    shutil.copy(Path(__file__).with_name("killing.py"), app)
    text = (app / "pyproject.toml").read_text()
    for old, new in (
        ("fab-include = [", 'fab-include = ["killing.py", '),
        ('serverapp = "server.app:app"', f'serverapp = "killing:{moment}"'),
    ):
        assert old in text
        text = text.replace(old, new)
    (app / "pyproject.toml").write_text(text)
    return app


def test_a_serverapp_that_is_killed_three_times_ends_with_the_same_bits(whole: Whole, tmp_path: Path) -> None:
    local, out, told = whole.place.local, tmp_path / "out", list[Line]()
    for moment, stands in (("between", 4), ("during", 6), ("writing", 6)):
        app = deadly(tmp_path / moment, moment)
        submitted = local.submit(app, whole.run.run_config(out, resume=True))
        wait_until((tmp_path / f"killed-{moment}").exists, RUN_S, submitted)
        submitted.stop()  # Flower calls the run a failed one only when its heartbeats have long been missing
        assert saved(out) == stands
        assert_kept(told, out)
        told = rounds(out)[:stands]
    assert len(leftovers(out / "state" / FILE)) == 1  # half a checkpoint, beside the whole one
    assert len(rounds(out)) == 8
    whole.place.finish(local.submit(whole.place.app, whole.run.run_config(out, resume=True)))
    assert not leftovers(out / "state" / FILE)
    assert_kept(told, out)
    whole.assert_equal(out)


@contextmanager
def disk(place: Path, size: int) -> Iterator[None]:
    """A file system of ``size`` bytes in memory."""
    if os.getuid():
        pytest.skip("FULL DISK NOT TESTED: a file system of its own needs root")
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"FULL DISK NOT TESTED: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)  # a ServerApp may still be ending


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(whole: Whole, tmp_path: Path) -> None:
    local, small = whole.place.local, tmp_path / "small"
    out, state = small / "out", small / "out" / "state" / FILE
    size = (whole.out / "state" / FILE).stat().st_size
    with disk(small, 8 * size // 5):  # room for one checkpoint, and not for the next beside it
        log = whole.place.fail(local.submit(whole.place.app, whole.run.run_config(out)))
        advice = (
            "the last checkpoint is intact; make room there, or copy the folder to another disk, and resume"
        )
        assert f"cannot write {state}: No space left on device; {advice}" in log.replace("\n", "")
        assert saved(out) == 2
        assert not list(out.rglob("*.tmp"))
        told = rounds(out)[:2]
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        whole.place.finish(local.submit(whole.place.app, whole.run.run_config(out, resume=True)))
        assert_kept(told, out)
        whole.assert_equal(out)


def test_a_full_disk_ends_the_command_with_an_error(tmp_path: Path) -> None:
    keys = ("data.name=synthetic", "train.devices_per_round=8", "train.slice_size=20", *SETTINGS)
    sets = [part for key in keys for part in ("--set", key)]
    with disk(tmp_path / "small", 1 << 16):
        command = [
            sys.executable,
            "-m",
            "experiments.cli",
            "run",
            *sets,
            "--out",
            str(tmp_path / "small" / "out"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr
    assert "make room there" in done.stderr


def test_a_superlink_that_is_killed_comes_back_on_its_database(tmp_path: Path) -> None:
    with federation(tmp_path, tmp_path / "superlink.db") as place:
        run = place.plan(3, 0, "train.rounds=12", "checkpoint_every=2")
        nodes = [place.local.warm_node(node) for node in run.nodes]
        out = tmp_path / "out"
        submitted = place.local.submit(place.app, run.run_config(out, resume=True))
        wait_until(lambda: len(rounds(out)) >= 3, RUN_S, submitted)
        place.local.superlinks[-1].kill()
        assert submitted.popen.wait(RUN_S) != 0
        before, kept = lines(out / "audit.jsonl"), rounds(out)[: saved(out)]
        assert not (out / "summary.json").exists()
        place.local.superlink()
        place.finish(place.local.submit(place.app, run.run_config(out, resume=True)))
        assert_kept(kept, out)
        told = rounds(out)
        assert [line["round"] for line in told] == list(range(1, 13))
        assert all(line["admitted"] + idle(out, line["round"]) == 40 for line in told)
        after = lines(out / "audit.jsonl")
        assert {e["node"] for e in after} == {e["node"] for e in before}
        assert all(node.text().count("is connected to") == 1 for node in nodes)
        in_this_process(run, place.data.num_items, tmp_path / "whole")
        assert_same_run(out, tmp_path / "whole")


def idle(out: Path, round_: int) -> int:
    found = lines(out / "audit.jsonl")
    return sum(e["reason"] == "idle" for e in found if e["round"] == round_)
