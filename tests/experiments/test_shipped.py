"""What the wheel carries beside code is what the checkout has, by name and by path."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import ConfigError
from common.settings import load
from experiments import shipped
from experiments.compare.grid import read_grid

ROOT = Path(__file__).resolve().parents[2]


def test_there_is_one_of_each_file() -> None:
    assert shipped.HOME == ROOT
    assert shipped.CONFIGS.resolve() == ROOT / "configs"
    assert shipped.APP.resolve() == ROOT / "pyproject.toml"


def test_the_wheel_has_every_folder_with_code_and_every_config() -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    rooms = [pattern.removesuffix("*") for pattern in tools["packages"]["find"]["include"]]
    assert not tools["packages"]["find"]["namespaces"]  # so that each folder needs an __init__.py
    for path in (path for room in rooms for path in (ROOT / room).rglob("*.py")):
        assert (path.parent / "__init__.py").exists(), path
    packed = {
        path for glob in tools["package-data"]["experiments.shipped"] for path in shipped.FOLDER.glob(glob)
    }
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "configs"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {path.resolve() for path in packed} == {ROOT / name for name in [*listed, "pyproject.toml"]}


def test_a_file_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.config("demo") == shipped.CONFIGS / "demo.yaml"
    Path("demo").mkdir()  # the results of an earlier run
    assert shipped.config("demo") == shipped.CONFIGS / "demo.yaml"
    Path("ml-1m").write_text("seed: 7\n")
    assert load(shipped.config("ml-1m")).seed == 7
    assert shipped.grid("smoke") == shipped.GRIDS / "smoke.yaml"
    assert shipped.config(tmp_path / "no.yaml") == tmp_path / "no.yaml"  # whoever reads it says what is wrong


@pytest.mark.parametrize(
    ("find", "name", "told"),
    [
        (
            shipped.config,
            "dmo",
            "unknown config 'dmo': did you mean 'demo'? valid: amazon-beauty, amazon-beauty-long, ",
        ),
        (shipped.grid, "demo", "unknown grid 'demo'; valid: ablation, adaptive, "),
    ],
)
def test_an_unknown_name_is_told_with_the_valid_ones(find: object, name: str, told: str) -> None:
    assert callable(find)
    with pytest.raises(ConfigError) as error:
        find(name)
    assert str(error.value).startswith(told)
    assert str(error.value).endswith(", or a YAML file")


def test_a_grid_names_a_shipped_config_or_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 3\n")
    (tmp_path / "grid.yaml").write_text("configs: [demo, mine.yaml]\nstrategies: [mean]\n")
    first, second = (budget.config for budget in read_grid(tmp_path / "grid.yaml").configs)
    assert first == (ROOT / "configs" / "demo.yaml")
    assert second == tmp_path / "mine.yaml"


@pytest.mark.parametrize("find", [shipped.config, shipped.grid, shipped.protocol])
def test_an_empty_name_is_not_the_folder_one_is_in(find: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="expected a name or a YAML file, found an empty path"):
        find("")
