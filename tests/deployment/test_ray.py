"""``fedsieve run --engine ray`` for real: the model of one process, Ctrl-C, and going on after it."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from emulation.federation import prepared
from emulation.partitions import partitions
from experiments.engines import emulate
from tests.server.federation import BASE, config, lines, model, same_model, timeless

pytestmark = [
    pytest.mark.deployment,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason="RAY NOT TESTED: it is not installed (pip install 'fedsieve[ray]')",
    ),
]
NODES, WAIT_S = 3, 400.0
PATIENT = "strategy.deadline_s=120"  # a reply that is late on a busy machine is another run
ATTACKED = ("attack.name=label_to_target", "attack.share=0.25", "strategy.aggregator=sieve", PATIENT)


def start(out: Path, *overrides: str, resume: bool = False) -> subprocess.Popen[str]:
    """The command in a session of its own, so that a signal reaches it and not its workers."""
    command = [
        "env",
        "--default-signal=INT",
        sys.executable,
        "-m",
        "experiments.cli",
        "run",
        "--engine",
        "ray",
        "--nodes",
        str(NODES),
    ]
    command += ["--out", str(out), *(["--resume"] if resume else [])]
    command += [part for item in (*BASE, *overrides) for part in ("--set", item)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload,no-any-return]


def here(folder: Path, *overrides: str) -> tuple[Path, Path]:
    """The same settings in this process: on the nodes of the simulation, and as ``fedsieve run`` does."""
    dataset, settings = prepared(config(*overrides))
    nodes = partitions(settings, dataset, NODES, folder / "logs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as Ray's workers have
    try:
        emulate(config(*overrides), folder / "same", nodes=nodes)
        emulate(config(*overrides), folder / "plain")
    finally:
        torch.set_num_threads(threads)
    return folder / "same", folder / "plain"


def summary(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "summary.json").read_text()))


def test_it_ends_with_the_model_of_one_process(tmp_path: Path) -> None:
    """Bit for bit on the same nodes; to 1e-6 where one node trains all honest devices in one batch."""
    out = tmp_path / "ray"
    told, _ = (running := start(out, *ATTACKED)).communicate(timeout=WAIT_S)
    assert running.returncode == 0, told
    same, plain = here(tmp_path, *ATTACKED)
    assert same_model(out, same)
    for name, tensor in model(out).items():
        assert (tensor - model(plain)[name]).abs().max() <= 1e-6, name
    for other in (same, plain):
        for split in ("valid", "test"):
            assert summary(out)[split] == pytest.approx(summary(other)[split], abs=1e-9)
        assert summary(out)["er@10"] == pytest.approx(summary(other)["er@10"], abs=1e-9)
    verdicts = [
        sorted((a["round"], a["device"] or 0, a["verdict"], a.get("weight", 0)) for a in lines(o, "audit"))
        for o in (out, same)
    ]
    assert verdicts[0] == verdicts[1]
    assert (out / "config.yaml").read_text() == (same / "config.yaml").read_text()
    assert (out / "report.html").exists()
    assert "DEPRECATED" not in told
    assert not list(tmp_path.glob(".nodes-*"))  # no copy of the log is left


def test_interrupted_and_resumed_it_is_the_same_run(tmp_path: Path) -> None:
    out, long = tmp_path / "ray", ("train.rounds=30", PATIENT)
    running, end = start(out, *long), time.monotonic() + WAIT_S
    while not (out / "state").exists():
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.1)
    os.kill(running.pid, signal.SIGINT)
    told, _ = running.communicate(timeout=120)  # and not after the deadlines of all the rounds that are left
    assert running.returncode == 130, told
    assert not (out / "summary.json").exists()
    told, _ = (running := start(out, *long, resume=True)).communicate(timeout=WAIT_S)
    assert running.returncode == 0, told
    same, _ = here(tmp_path, *long)
    assert same_model(out, same)
    trained = [[x for x in timeless(lines(o, "metrics")) if "split" not in x] for o in (out, same)]
    assert [x["round"] for x in trained[0]] == list(range(1, 31))
    assert [x["admitted"] for x in trained[0]] == [x["admitted"] for x in trained[1]]
