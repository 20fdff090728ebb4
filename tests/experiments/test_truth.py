"""A run over the network gets the page of an emulation where its starter has the log, and keeps it after."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from attacks.app import app as client_app
from common.config import RunConfig
from common.data import load
from common.settings import load as settings
from emulation.federation import malicious_numbers
from emulation.local_grid import LocalGrid
from experiments.beside import TRUTH
from experiments.containers.results import Node, show
from experiments.deployed import plan
from experiments.engines import completed
from server.app import serve
from tests.server.federation import BASE, ITEMS, LOG

OVERRIDES = [*BASE, "train.rounds=2", "attack.name=sign_flip", "eval.targets=[]", "attack.targets=[3]"]


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, RunConfig]:
    """A run as a deployment has it, without its processes, and its settings with the log at hand."""
    config, data = settings(overrides=OVERRIDES), load("synthetic", LOG)
    made = plan(config, data, 3, 1, tmp_path / "logs")
    serve(LocalGrid(client_app, made.nodes), made.config, ITEMS, tmp_path / "run")
    return tmp_path / "run", made.config.model_copy(update={"data": config.data})


def test_the_page_has_floors_and_who_is_malicious(finished: tuple[Path, RunConfig]) -> None:
    out, config = finished
    assert completed(out)  # as the server does it, which has no log
    assert "floors" not in json.loads((out / "summary.json").read_text())
    assert not (out / TRUTH).exists()
    assert completed(out, config)
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["floors"]) == {"popularity", "markov"}
    assert summary["floor_devices"] == 30
    bad = frozenset(json.loads((out / TRUTH).read_text()))
    assert bad == malicious_numbers(config, load("synthetic", LOG))
    assert len(bad) == 10
    page = (out / "report.html").read_text()
    assert "Markov-1" in page
    assert '"malicious"' in page
    assert completed(out)  # and later, where only the folder is left
    assert json.loads((out / "summary.json").read_text()) == summary
    assert '"malicious"' in (out / "report.html").read_text()


def test_containers_write_the_same(finished: tuple[Path, RunConfig]) -> None:
    out, config = finished
    console = Console(file=StringIO(), width=200)
    nodes = [Node("honest", 0, 1, (1, 2)), Node("malicious", 0, 4, (3,))]
    show(out, nodes, config, "synthetic", console)
    assert json.loads((out / "containers.json").read_text()) == [
        json.loads(json.dumps(asdict(n))) for n in nodes
    ]
    summary = json.loads((out / "summary.json").read_text())
    assert {"floors", "target_items", "idle_share"} <= summary.keys()
    assert "Markov-1" in console.file.getvalue()  # type: ignore[attr-defined]
    assert (out / TRUTH).exists()
    assert '"malicious"' in (out / "report.html").read_text()
