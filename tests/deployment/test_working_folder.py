"""Files of the working folder that are called as our packages break no documented command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.local_deployment import BIN
from experiments.processes import Process, free_ports, listening, wait_until
from experiments.shipped import HOME

pytestmark = pytest.mark.deployment
NAMES = ("common", "server", "client", "attacks", "transport", "emulation", "experiments")
RECIPE = "devices=24,items=40,length=8"
SMALL = ["data.name=synthetic", f"data.path={RECIPE}", "train.rounds=2", "train.devices_per_round=8"]
SETS = [
    word for one in [*SMALL, "train.slice_size=16", "model.dim=8", "eval.every=2"] for word in ("--set", one)
]
GRID = f"""
configs: [demo]
strategies: [mean, krum]
attacks: [control]
set:
  {{data.name: synthetic, data.path: "{RECIPE}", train.rounds: 1, train.devices_per_round: 8, model.dim: 8}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder as a careless user may have it, with a log split for two nodes."""
    made = tmp_path_factory.mktemp("mine")
    for name in NAMES:
        (made / f"{name}.py").write_text(f"raise SystemExit('{name}.py of the working folder')\n")
    (made / "grid.yaml").write_text(GRID)
    return made


def start(folder: Path, *words: str, log: Path) -> Process:
    """``fedsieve WORDS`` in ``folder`` as a shell would start it."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(HOME),
        "FLWR_HOME": str(log.parent),
        "OMP_NUM_THREADS": "1",
    }
    with log.open("wb") as out:
        popen = subprocess.Popen(
            [BIN / "fedsieve", *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Process(popen, log)


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in reversed(started):
        process.stop()


def test_such_a_file_breaks_python_m(folder: Path) -> None:
    """Else this file would show nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "client.node"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert "of the working folder" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("run", *SETS, "--out", "run"),
        ("compare", "grid.yaml", "--out", "grid", "--workers", "2"),
        ("demo", *SETS, "--out", "demo"),
        ("grpc-demo", *SETS, "--nodes", "1", "--out", "grpc"),
        ("list", "attacks"),
        ("data", "split", "synthetic", "--path", RECIPE, "--nodes", "2", "--out", "parts"),
    ],
    ids=lambda words: words[0],
)
def test_commands(folder: Path, tmp_path: Path, ended: list[Process], words: tuple[str, ...]) -> None:
    process = start(folder, *words, log=tmp_path / "log")
    ended.append(process)
    assert process.popen.wait(240) == 0, process.text()
    assert "of the working folder" not in process.text()


def test_superlink_and_node(folder: Path, tmp_path: Path, ended: list[Process]) -> None:
    split = start(
        folder,
        "data",
        "split",
        "synthetic",
        "--nodes",
        "1",
        "--out",
        str(tmp_path / "one"),
        log=tmp_path / "s",
    )
    ended.append(split)
    assert split.popen.wait(120) == 0, split.text()
    fleet, control, runtime = (f"127.0.0.1:{port}" for port in free_ports(3))
    addresses = ["--fleet-api-address", fleet, "--control-api-address", control]
    addresses += ["--serverappio-api-address", runtime, "--disable-runtime-dependency-installation"]
    link = start(folder, "superlink", "--insecure", *addresses, log=tmp_path / "superlink.log")
    ended.append(link)
    wait_until(lambda: listening(fleet), 60, link)
    ready = tmp_path / "ready"
    data = ["--data", str(tmp_path / "one" / "node-000.parquet"), "--ready-file", str(ready)]
    node = start(folder, "node", "--superlink", fleet, "--insecure", *data, log=tmp_path / "node.log")
    ended.append(node)
    wait_until(ready.exists, 60, node)
    time.sleep(1)
    assert link.popen.poll() is None, link.text()
    assert "of the working folder" not in link.text() + node.text()
