"""Seconds of each command of ``docs/start.md``, with the wheel, from an empty folder, on a log of one's own.

``python -m benchmarks.first_steps WHEEL LOG.csv [--load "…"]`` makes an environment, runs what the page
shows, as it shows it, and writes the page's table anew.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.marks import with_marked
from common.machine import cores
from experiments.units import seconds_text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "start.md"
FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
WALK = ("pip install ", "fedsieve run ", "fedsieve data check ", "fedsieve compare ")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("log", type=Path, help="a CSV with a user, an item and a time")
    parser.add_argument("--load", default="nothing else", help="what else the machine did meanwhile")
    args = parser.parse_args(arguments)
    page = PAGE.read_text(encoding="utf-8")
    with args.log.open(encoding="utf-8") as lines:
        size = sum(1 for _ in lines) - 1
    with tempfile.TemporaryDirectory(prefix="first-steps-") as work:
        spent = timed(page, args.wheel.resolve(), args.log.resolve(), Path(work))
    PAGE.write_text(with_table(page, spent, about(args.log.name, size, args.load)), encoding="utf-8")


def walk(page: str) -> tuple[list[str], str]:
    """The commands of a page from the wheel's install to the comparison, and the grid that this one reads."""
    blocks = [(found["kind"], found["text"]) for found in FENCE.finditer(page.split("## More commands")[0])]
    (grid,) = (text for kind, text in blocks if kind == "yaml")
    shown = [line for kind, text in blocks if not kind for line in text.splitlines()]
    return [line for line in shown if line.startswith(WALK)], grid


def timed(page: str, wheel: Path, log: Path, work: Path) -> dict[str, float]:
    """Seconds of each command of the page. Raises CalledProcessError for one that fails."""
    commands, grid = walk(page)
    folder, environment = work / "empty", work / "environment"
    folder.mkdir()
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    shutil.copy(log, folder / "my-log.csv")
    (folder / "grid.yaml").write_text(grid, encoding="utf-8")
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    spent = {}
    for command in commands:
        words = [re.sub(r"^\S*\.whl", str(wheel), word) for word in shlex.split(command)]
        began = time.monotonic()
        program = environment / "bin" / words[0]
        subprocess.run([program, *words[1:]], cwd=folder, env={**own, "PATH": path}, check=True)
        spent[command] = time.monotonic() - began
        print(f"{command}: {spent[command]:.1f} s", flush=True)
    return spent


def about(log: str, lines: int, load: str) -> str:
    return (
        f"Measured by `python -m benchmarks.first_steps` on `{log}`, {lines:,} interactions: "
        f"{platform.machine()}, {cores()} cores, Python {platform.python_version()}; beside it {load}."
    )


def with_table(page: str, spent: Mapping[str, float], measured: str) -> str:
    """``page`` with its times anew. Raises ValueError for a page without a place for them."""
    rows = "".join(f"| `{command}` | {seconds_text(seconds)} |\n" for command, seconds in spent.items())
    rows += f"| together | {seconds_text(sum(spent.values()))} |\n"
    return with_marked(page, "times", f"{measured}\n\n| command | takes |\n|---|---|\n{rows}")


if __name__ == "__main__":
    main()
