"""Every line of docs/threat-model.md is shown by a test that exists, or says why it is not protected."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
LINES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.endswith("| shown by |")
]
UNPROTECTED = re.compile(r"not protected: \w.+")


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_page_has_lines() -> None:
    assert len(LINES) > 50


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0][:50])
def test_a_line_is_shown_or_says_why_not(line: list[str]) -> None:
    said, shown = line
    assert said
    if UNPROTECTED.fullmatch(shown):
        return
    path, _, name = shown.partition("::")
    assert name.startswith("test_"), f"no test: {shown!r}"
    assert (ROOT / path).is_file(), f"no file {path}"
    assert name in functions(ROOT / path), f"{path} has no {name}"
