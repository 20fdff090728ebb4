"""The benchmark of the population runs, and a round makes as many calls whatever there are of devices."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from benchmarks import population
from benchmarks.population import NODES, SETTINGS, Stub, met_before
from common.settings import load
from emulation.local_grid import LocalGrid
from server.records.outputs import RunFolder
from server.strategy import RobustStrategy

ITEMS = 90


def test_the_tables_have_a_row_for_each_size(capsys: pytest.CaptureFixture[str]) -> None:
    population.main(["--quick", "--rounds", "2"])
    told = capsys.readouterr().out.splitlines()
    assert "cores, torch" in told[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in told if line[:3] in ("| 2", "| 6")
    ]
    assert [row[0] for row in rows] == ["200", "2,000", "600", "6,000"]
    assert all(float(cell) > 0 for row in rows for cell in row[1:4])


def calls(devices: int, folder: Path) -> int:
    """Calls, into Python and into C, of the third round of a run that met all devices before."""
    config = load(overrides=[*SETTINGS, "train.devices_per_round=24", "train.slice_size=16", "model.dim=8"])
    stub = Stub(devices, 0, config.model.dim)
    grid, records = LocalGrid(stub, [{} for _ in range(NODES)]), RunFolder(folder, config)
    strategy = RobustStrategy(config, ITEMS, [records], "run", records.settled, records.audit)
    stub.width = len(strategy.state.model.encoder)
    strategy.state = met_before(strategy.state, devices, ITEMS)
    records.create()
    strategy.wait_for_nodes(grid, NODES)
    for round_ in (1, 2):
        strategy.round(grid, round_)
    count = 0

    def seen(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        strategy.round(grid, 3)
    finally:
        sys.setprofile(None)
        records.close()
    told = (folder / "metrics.jsonl").read_text()
    assert told.count('"skipped": false') == 3, told
    return count


def test_a_round_makes_as_many_calls_for_a_hundred_times_the_devices(tmp_path: Path) -> None:
    few, many = calls(120, tmp_path / "few"), calls(12_000, tmp_path / "many")
    assert many < 1.1 * few  # some more steps of a search
