"""The base install: what a node and a run need has no plots in it, and says where they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from common.extras import EXTRAS, lacks
from experiments.shipped import HOME

REFUSE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {refused}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Refuse())
"""
REFUSED = {*EXTRAS["report"], *EXTRAS["server"], "mlflow"}
SETS = ["data.name=synthetic", "data.path=devices=24,items=40,length=8", "train.rounds=1", "model.dim=8"]
SETS += ["train.devices_per_round=8", "train.slice_size=16", "eval.every=1"]
DOORS = ("client.node", "client.app", "attacks.app", "server.app", "transport.superlink", "experiments.cli")


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which no process, however it is started, can import an extra's packages."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(REFUSE.format(refused=sorted(REFUSED)))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(HOME)])}


def python(environment: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_fixture_refuses_them(bare: dict[str, str], tmp_path: Path) -> None:
    done = python(bare, tmp_path, "-c", "import plotly")
    assert "No module named 'plotly'" in done.stderr


def test_the_doors_of_a_node_and_a_server_open_without_extras(bare: dict[str, str], tmp_path: Path) -> None:
    code = "import importlib\nfor name in {}: importlib.import_module(name)"
    done = python(bare, tmp_path, "-c", code.format(DOORS))
    assert done.returncode == 0, done.stderr


def test_a_run_is_whole_and_says_how_to_get_its_page(bare: dict[str, str], tmp_path: Path) -> None:
    sets = [word for one in SETS for word in ("--set", one)]
    done = python(bare, tmp_path, "-m", "experiments.cli", "run", *sets, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "For report.html: pip install 'fedsieve[report]'"
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["rounds"] == 1
    assert not (tmp_path / "run" / "report.html").exists()
    assert not (tmp_path / "run" / "events").exists()


def test_a_report_without_its_extra_is_refused_in_one_line(bare: dict[str, str], tmp_path: Path) -> None:
    done = python(bare, tmp_path, "-m", "experiments.cli", "report", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("fedsieve: fedsieve report needs ")
    assert line.endswith(": pip install 'fedsieve[report]'")


def test_an_error_in_our_own_code_is_not_taken_for_a_missing_extra() -> None:
    assert lacks("report", ModuleNotFoundError("no", name="plotly.graph_objects"))
    assert not lacks("report", ModuleNotFoundError("no", name="experiments.report.gone"))
    assert not lacks("report", ImportError("cannot import name", name="plotly"))


def test_the_extras_are_those_of_pyproject() -> None:
    project = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    wishes = project["optional-dependencies"]
    base = {canonicalize_name(Requirement(wish).name) for wish in project["dependencies"]}
    for extra, packages in EXTRAS.items():
        names = {canonicalize_name(Requirement(wish).name).replace("-", "_") for wish in wishes[extra]}
        assert names <= set(packages)
    assert not base & {name.replace("_", "-") for name in REFUSED}
    assert wishes["node"] == []
