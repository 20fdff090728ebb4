"""What the page on Python and the notebook show runs as it stands, and needs nothing but the library."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
ALLOWED = {"fedsieve", "polars", "torch"}
LARGEST = 100_000
"""Bytes of the notebook with its outputs."""


def page() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.S)


def cells() -> list[str]:
    found = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


SOURCES = {"page": page, "notebook": cells}


def shortened(code: str) -> str:
    """The same on a made-up log, whose items are called 1 to 120, in two rounds."""
    code, logs = re.subn(r'"ml-100k"', '"synthetic"', code)
    code, rounds = re.subn(r'(rounds"?[=:] ?)\d+', r"\g<1>2", code)
    small = '"model.dim": 8, "train.slice_size": 20, "train.devices_per_round": 16, '
    code = re.sub(r'(settings"?[=:] ?{)', r"\g<1>" + small, code)
    code = code.replace('"set": {', '"set": {"data.name": "synthetic", ' + small)
    assert logs
    assert rounds
    return code


@pytest.mark.parametrize("source", SOURCES)
def test_it_imports_nothing_else(source: str) -> None:
    code = "\n".join(SOURCES[source]())
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.M)) <= ALLOWED
    assert "import fedsieve" in code


def test_a_page_that_compares_has_the_guard_of_a_script() -> None:
    comparing = [block for block in page() if "fedsieve.compare(" in block]
    assert comparing
    assert all('if __name__ == "__main__":' in block for block in comparing)


@pytest.mark.deployment
@pytest.mark.parametrize("source", SOURCES)
def test_it_runs(source: str, tmp_path: Path) -> None:
    told = executed(SOURCES[source](), tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    assert list(tmp_path.glob("runs/*/results.parquet"))


def executed(blocks: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    code = shortened("\n".join(blocks))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )


def test_the_notebook_is_stored_with_small_outputs_and_no_errors() -> None:
    assert NOTEBOOK.stat().st_size < LARGEST
    stored = [
        c for c in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"
    ]
    assert all(cell["outputs"] for cell in stored)
    assert not [o for cell in stored for o in cell["outputs"] if o["output_type"] == "error"]
