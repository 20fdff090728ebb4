"""The drawings in CONTRIBUTING.md are the imports of the code, and keep import-linter's contracts."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
Edges = set[tuple[str, str]]


def drawings() -> list[Edges]:
    """The edges of each drawing, chains and ``a & b`` resolved."""
    found = []
    for block in re.findall(r"```mermaid\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL):
        edges: Edges = set()
        for line in block.splitlines()[1:]:
            stops = [[name.strip() for name in stop.split("&")] for stop in line.split("-->")]
            pairs = pairwise(stops)
            edges |= {(a, b) for left, right in pairs for a in left for b in right}
        found.append(edges)
    return found


def package(module: str) -> str:
    return module.split(".")[0]


def room(module: str) -> str:
    """Of a module of the server."""
    name = module.removeprefix("server").strip(".").split(".")[0]
    return "strategy" if name in ("strategy", "app", "training") else name


def imports() -> Edges:
    graph = grimp.build_graph(*CONTRACTS["root_packages"])
    return {(a, b) for a in graph.modules for b in graph.find_modules_directly_imported_by(a)}


def between(pairs: Edges) -> Edges:
    return {(a, b) for a, b in pairs if a != b}


def reach(edges: Edges, start: str) -> set[str]:
    found, todo = set[str](), [start]
    while todo:
        here = todo.pop()
        new = {b for a, b in edges if a == here} - found
        found |= new
        todo += new
    return found


def test_the_drawing_of_the_packages_is_what_they_import() -> None:
    real = between({(package(a), package(b)) for a, b in imports()})
    assert {a for a, b in real if b == "common"} == set(CONTRACTS["root_packages"]) - {"common"}
    assert {(a, b) for a, b in real if b != "common"} == drawings()[0]


def test_the_drawing_of_the_server_is_what_its_rooms_import() -> None:
    inside = {(a, b) for a, b in imports() if package(a) == package(b) == "server" and b != "server"}
    assert between({(room(a), room(b)) for a, b in inside}) == drawings()[1]


@pytest.mark.parametrize("contract", CONTRACTS["contracts"], ids=lambda contract: contract["name"])
def test_the_drawings_keep_the_contracts(contract: dict[str, list[str]]) -> None:
    packages, rooms, _ = drawings()
    checked = 0
    for source in contract["source_modules"]:
        for forbidden in contract["forbidden_modules"]:
            if "." not in source + forbidden:
                assert forbidden not in reach(packages, source)
                checked += 1
            elif package(source) == package(forbidden) == "server":
                assert room(forbidden) not in reach(rooms, room(source))
                checked += 1
    assert checked


def test_no_drawing_goes_in_a_circle() -> None:
    for edges in drawings():
        assert not [a for a, _ in edges if a in reach(edges, a)]


def test_drawing_a_slice_needs_no_network() -> None:
    code = "import sys, server.round.drawing; sys.exit(any(name in sys.modules for name in ('grpc', 'flwr')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_server_knows_nothing_of_attacks() -> None:
    """No setting of an attack is read there: an emulation knows the truth, a server has to find out."""
    for file in sorted((ROOT / "server").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Attribute) and node.attr == "attack"), f"{file}:{node.lineno}"
