"""A federation of the real app for a test: a SuperLink, nodes and runs as processes on 127.0.0.1."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from attacks.app import app as client_app
from attacks.app import node_settings
from client.fleet import open_fleet
from common.data import Dataset, load
from common.settings import load as settings
from emulation.local_grid import LocalGrid
from experiments.deployed import ATTACKING, Plan, plan, stage
from experiments.local_deployment import Deployment, deployment
from experiments.processes import Process
from server.app import serve
from transport.messages import App

RUN_S = 250.0
SMALL = (
    "data.name=synthetic",
    "model.dim=8",
    "model.max_len=12",
    "model.blocks=1",
    "train.devices_per_round=40",
    "train.slice_size=60",
    "strategy.aggregator=median",
    "wire.dtype=float32",
    "eval.every=0",
    "strategy.secret=a test",
)
Line = dict[str, Any]


@dataclass
class Place:
    """A deployment, the app to submit, and the log that is split over the nodes."""

    local: Deployment
    app: Path
    data: Dataset
    folder: Path

    def plan(self, honest: int, malicious: int, *overrides: str) -> Plan:
        config = settings(overrides=[*SMALL, *overrides])
        return plan(config, self.data, honest, malicious, self.folder / "logs")

    def run(self, run: Plan, out: Path) -> None:
        self.finish(self.local.submit(self.app, run.run_config(out)))

    def finish(self, submitted: Process) -> None:
        result = self.local.wait(submitted, RUN_S)
        assert result.status == "finished:completed", self.local.logs()

    def fail(self, submitted: Process) -> str:
        """The log of a run that has to fail."""
        result = self.local.wait(submitted, RUN_S)
        assert result.status == "finished:failed", self.local.logs()
        return result.log


@contextmanager
def federation(folder: Path, database: Path | None = None) -> Iterator[Place]:
    """A SuperLink and the app, with all their files in ``folder``; the nodes are the test's own."""
    app = stage(folder / "app", ATTACKING)
    with deployment(folder / "run", database) as local:
        yield Place(local, app, load("synthetic"), folder)


def devices_of(run: Plan) -> list[list[int]]:
    """The device numbers of each node."""
    return [open_fleet(node_settings(node)).numbers.tolist() for node in run.nodes]


def in_this_process(run: Plan, num_items: int, out: Path, app: App = client_app) -> None:
    """The same node configs without a network; one thread, as the node processes have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        serve(LocalGrid(app, run.nodes), run.config, num_items, out)
    finally:
        torch.set_num_threads(threads)


def lines(file: Path) -> list[Line]:
    """What is there so far, without a line that is only half written."""
    found = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in found if line.endswith("}")]


def audit_of(out: Path) -> list[Line]:
    """The audit of training, without the lines about evaluations."""
    return [line for line in lines(out / "audit.jsonl") if "evaluation" not in line]


def timeless(found: Iterable[Line]) -> list[Line]:
    """Lines without the figures that a clock or the wire gave."""
    return [{k: v for k, v in line.items() if not k.startswith(("seconds", "bytes"))} for line in found]


def assert_same_bits(one: Path, other: Path) -> None:
    models = [load_file(out / "model.safetensors") for out in (one, other)]
    assert models[0].keys() == models[1].keys() == {"encoder", "item_table"}
    for name in models[0]:
        assert torch.equal(models[0][name], models[1][name]), name


def rounds(out: Path) -> list[Line]:
    """The lines about training in metrics.jsonl."""
    return [line for line in lines(out / "metrics.jsonl") if "split" not in line]


def assert_same_run(one: Path, other: Path) -> None:
    """The same model to 1e-6, device by device the same verdicts, and the same results."""
    models = [load_file(out / "model.safetensors") for out in (one, other)]
    assert models[0].keys() == models[1].keys() == {"encoder", "item_table"}
    for name in models[0]:
        assert (models[0][name] - models[1][name]).abs().max() <= 1e-6, name
    verdicts = [sorted((e["round"], e["device"], e["verdict"]) for e in audit_of(o)) for o in (one, other)]
    assert verdicts[0] == verdicts[1]
    tests = [json.loads((out / "summary.json").read_text())["test"] for out in (one, other)]
    assert tests[0] == pytest.approx(tests[1], abs=1e-6)
