"""Components that live outside this project: the guide's examples, checked, run, compared and deployed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from common.errors import ConfigError
from common.settings import load, to_tree
from experiments.cli import app
from experiments.compare.keys import cell_key
from tests.deployment.federation import assert_same_run, federation, in_this_process
from tests.server.federation import BASE, config

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
MODULES = ("rules", "rows", "attacks", "models", "terms")
OURS = (
    "strategy.aggregator={name: 'my_package.rules:Mine', share: 0.6}",
    "attack={name: 'my_package.attacks:Mine'}",
    "attack.scale=3",
    "model={name: 'my_package.models:Mine'}",
    "model.decay=0.7",
    "client.regularisers=[{name: 'my_package.terms:Mine', weight: 0.02}]",
)
CHANGING = """    def __call__(self, updates, state, round_):
        updates.encoder.mul_(0.5)
        return super().__call__(updates, state, round_)

    def weigh("""
BROKEN = {
    "rules": ("    def weigh(", CHANGING, "it changes updates.encoder"),
    "rows": ("updates.encoder.mean(dim=0)", "updates.encoder[0].clone()", "the order"),
    "attacks": ("-self.scale * updates.encoder", 'float("nan") * updates.encoder', "admission refuses"),
    "models": ("(age >= 0) & ~padding", "(age >= -99) & ~padding", "changes a state before it"),
    "terms": (".sum(-1)", ".sum()", "penalties have shape"),
}


def examples() -> dict[str, str]:
    """The files of the guide: those blocks of Python that come after the name of one."""
    found = re.findall(r"`my_package/(\w+)\.py`.*?```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    return dict(found)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path of this process and of its children, with the guide's package in it."""
    place = tmp_path / "elsewhere"
    (place / "my_package").mkdir(parents=True)
    (place / "my_package" / "__init__.py").touch()
    for name, text in examples().items():
        (place / "my_package" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")]))
    yield place
    for name in [name for name in sys.modules if name.partition(".")[0] in ("my_package", "broken")]:
        del sys.modules[name]


def test_the_guide_has_an_example_of_each_in_at_most_25_lines() -> None:
    assert set(examples()) == set(MODULES)
    assert all(len(text.splitlines()) <= 25 for text in examples().values())


@pytest.mark.parametrize("module", MODULES)
def test_check_passes_what_keeps_its_promises(folder: Path, module: str) -> None:
    result = CliRunner().invoke(app, ["check", f"my_package.{module}:Mine"])
    assert result.exit_code == 0, result.output
    assert "FAILS" not in result.output
    assert re.search(r"(\d+) of \1 promises kept", result.output)


@pytest.mark.parametrize("module", MODULES)
def test_check_fails_what_does_not_and_says_why(folder: Path, module: str) -> None:
    old, new, told = BROKEN[module]
    text = examples()[module]
    assert old in text
    (folder / "broken.py").write_text(text.replace(old, new))
    result = CliRunner().invoke(app, ["check", "broken:Mine"])
    assert result.exit_code == 1, result.output
    assert told in result.output
    assert "FAILS" in result.output


LATER = """
class Step:  # a server step
    def init(self, encoder, table):
        return {}

    def step(self, update, state, lr):
        update.rows.mul_(-lr)
        return update, state


class Limit:  # a constraint
    def init(self, start):
        return {}

    def __call__(self, model, delta, state, evidence):
        delta.rows.clamp_(-1, 1)
        return delta, state, {}


class Mixer(Clip):  # a pre-aggregator
    def matrix(self, products, round_):
        return super().matrix(products, round_).float()
"""


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("Step", "optimizer", "it changes the aggregate, or hands it back"),
        ("Limit", "constraint", "it changes the rows of the step"),
        ("Mixer", "pre-aggregator", "M is torch.float32"),
    ],
)
def test_check_finds_out_the_kind(folder: Path, name: str, kind: str, told: str) -> None:
    (folder / "broken.py").write_text("from server.aggregators.pre.clip import Clip\n" + LATER)
    result = CliRunner().invoke(app, ["check", f"broken:{name}"])
    assert result.exit_code == 1, result.output
    assert told in result.output
    assert f"broken:{name} ({kind}): " in result.output


def test_check_takes_parameters_and_refuses_what_it_cannot_build(folder: Path) -> None:
    assert CliRunner().invoke(app, ["check", "clip", "--set", "max_norm=2"]).exit_code == 0
    for arguments, told in (
        (
            ["clip", "--set", "max_nom=2"],
            "has no parameter 'max_nom': did you mean 'max_norm'? valid: max_norm",
        ),
        (["krumm"], "unknown component 'krumm': did you mean 'krum'? valid: krum, "),
        (["krum", "--kind", "rule"], "unknown kind 'rule'; valid: aggregator, attack"),
        (["json:JSONDecoder"], "'json:JSONDecoder' derives from no base of a component; valid: aggregator"),
        (
            ["my_package.rules:Mina"],
            "aggregator of my_package.rules 'Mina': did you mean 'Mine'? valid: Mine",
        ),
    ):
        result = CliRunner().invoke(app, ["check", *arguments])
        assert isinstance(result.exception, ConfigError), arguments
        assert told in str(result.exception)


def test_run_takes_all_four_and_resumes_by_their_names(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "experiments.cli", "run", "--out", str(out)]
    command += [part for item in (*BASE[1:], *OURS) for part in ("--set", item)]
    root = GUIDE.parents[1]
    subprocess.run(command, check=True, cwd=root, capture_output=True, timeout=200)
    kept = yaml.safe_load((out / "config.yaml").read_text())
    assert kept["strategy"]["aggregator"] == {"name": "my_package.rules:Mine", "share": 0.6}
    assert kept["model"]["params"] == {"decay": 0.7}
    assert kept["attack"]["params"] == {"scale": 3}
    assert json.loads((out / "summary.json").read_text())["rounds"] == 4


def test_compare_takes_them_and_a_changed_source_is_another_cell(folder: Path, tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    sets = [item for item in BASE if not item.startswith("strategy.aggregator")]
    tree = to_tree(load(overrides=sets))
    base.write_text(yaml.safe_dump({**tree, "strategy": {**tree["strategy"], "secret": "a"}}))
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        yaml.safe_dump(
            {
                "configs": [str(base)],
                "strategies": ["mean", {"name": "my_package.rules:Mine", "share": 0.6}],
                "attacks": [{"name": "my_package.attacks:Mine", "scale": 3}],
                "models": [{"name": "my_package.models:Mine", "decay": 0.7}],
                "set": {"client.regularisers": ["my_package.terms:Mine"]},
            }
        )
    )
    out = tmp_path / "grid"
    result = CliRunner().invoke(app, ["compare", str(grid), "--out", str(out), "--workers", "1"])
    assert result.exit_code == 0, result.output
    found = pl.read_parquet(out / "results.parquet")
    assert set(found["status"]) == {"done"}
    assert set(found["aggregator"]) == {"mean", "my_package.rules:Mine(share=0.6)"}
    settings = config(*OURS)
    before = cell_key(settings, "data")
    assert cell_key(config(), "data") != before == cell_key(settings, "data")
    source = folder / "my_package" / "terms.py"
    source.write_text(source.read_text() + "# changed\n")
    assert cell_key(settings, "data") != before


@pytest.mark.deployment
def test_over_grpc_the_same_comes_out(folder: Path, tmp_path: Path) -> None:
    with federation(tmp_path / "deployed") as place:
        run = place.plan(2, 1, "train.rounds=3", *OURS)
        assert all("my_package.models:Mine" in str(node["components"]) for node in run.nodes)
        for node in run.nodes:
            place.local.warm_node(node)
        place.run(run, place.folder / "grpc")
        in_this_process(run, place.data.num_items, place.folder / "local")
        assert_same_run(place.folder / "grpc", place.folder / "local")
