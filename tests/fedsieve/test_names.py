"""What ``import fedsieve`` promises: names, docstrings, types, and a quick start."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fedsieve
from attacks import ATTACKS
from client.regularisers import REGULARISERS
from experiments import library
from server.aggregators import AGGREGATORS
from server.aggregators.pre import KNOWN
from server.constraints import CONSTRAINTS
from server.optimizers import OPTIMIZERS

FOLDER = Path(fedsieve.__file__).parent
ROOMS = {
    "aggregators": {**AGGREGATORS, **KNOWN},
    "attacks": ATTACKS,
    "constraints": CONSTRAINTS,
    "optimizers": OPTIMIZERS,
    "regularisers": REGULARISERS,
}


@pytest.mark.parametrize("name", fedsieve.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    found = getattr(fedsieve, name)
    assert name in dir(fedsieve)
    assert inspect.getdoc(found), name
    if inspect.isfunction(found):
        parameters = inspect.signature(found).parameters
        assert inspect.signature(found).return_annotation is not inspect.Signature.empty
        for one, parameter in parameters.items():
            assert parameter.annotation is not inspect.Parameter.empty, one
            assert re.search(rf"^ *([\w, ]*\b)?{one}\b[\w, ]*$|\b{one}\b", inspect.getdoc(found) or "", re.M)
        assert "Raises\n------" in (inspect.getdoc(found) or "")


def test_the_static_names_are_the_lazy_ones() -> None:
    tree = ast.parse((FOLDER / "__init__.py").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If))
    static = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    rooms = {name for name, home in static.items() if home == "fedsieve"}
    assert rooms == set(fedsieve._ROOMS)
    assert {name: home for name, home in static.items() if name not in rooms} == fedsieve._HOMES
    assert {*static, *(n for n in fedsieve.__all__ if n.endswith(("Error", "Name")))} == set(fedsieve.__all__)
    assert (FOLDER / "py.typed").exists()


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'fedsieve' has no attribute 'runn'"):
        _ = fedsieve.runn  # type: ignore[attr-defined]


@pytest.mark.parametrize("room", ROOMS)
def test_every_part_is_a_class_of_its_room(room: str) -> None:
    module = importlib.import_module(f"fedsieve.{room}")
    assert {kind.__name__ for kind in ROOMS[room].values()} <= set(module.__all__)
    for name, kind in ROOMS[room].items():
        assert getattr(module, kind.__name__) is kind, name
    for name in module.__all__:
        assert inspect.getdoc(getattr(module, name)), name


@pytest.mark.parametrize("part", library.PARTS)
def test_the_rooms_are_of_today(part: str) -> None:
    text = (FOLDER / f"{part}.py").read_text(encoding="utf-8")
    assert text == library.module(part), "run python -m experiments.catalogue"


def test_the_import_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys, fedsieve; fedsieve.ConfigError; print('torch' in sys.modules, 'pydantic' in sys.modules)"
    )
    clock = time.monotonic()
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert told.stdout.split() == ["False", "False"]
    assert time.monotonic() - clock < 3  # 0.06 s on an idle machine, the start of Python included


def test_errors_are_one_tree() -> None:
    errors = [getattr(fedsieve, n) for n in fedsieve.__all__ if n.endswith("Error") or n == "UnknownName"]
    assert len(errors) == 7
    assert all(issubclass(one, fedsieve.FedSieveError) for one in errors)


def test_a_file_that_hides_a_room_is_named(tmp_path: Path) -> None:
    (tmp_path / "common.py").write_text("")
    root = str(Path(fedsieve.__file__).parents[1])
    command = [sys.executable, "-c", "import fedsieve"]
    for safe in ((), ("-P",)):
        words = [command[0], *safe, *command[1:]]
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == bool(safe)
        assert safe or f"{tmp_path / 'common.py'} hides fedsieve's package 'common'" in done.stderr
