"""Case 12: nodes with other catalogues, and one log on two nodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from client.app import app as client_app
from common.data import CATALOGUE, Dataset, catalogue, load, write_shards
from common.data.names import Names
from common.errors import RunError
from common.settings import load as settings
from emulation.local_grid import LocalGrid
from server.app import serve

LOG = "devices=40,items=30,length=8"
RECIPE = [
    *("data.name=synthetic", f"data.path='{LOG}'", "train.rounds=2", "train.devices_per_round=20"),
    *("train.slice_size=30", "model.dim=4", "model.max_len=8", "model.blocks=1", "eval.every=0"),
]


def renamed(data: Dataset, change: Callable[[list[str]], Sequence[str]]) -> Dataset:
    return replace(data, item_ids=Names.of(change(list(data.item_ids))))


def served(
    logs: Sequence[Path], known: Path, out: Path, *more: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Summary and refusals of a run over nodes with these logs, by a server with one catalogue."""
    found = catalogue("synthetic", str(known / CATALOGUE))
    grid = LocalGrid(client_app, [{"path": str(log), "repeatable": True} for log in logs])
    config = settings(overrides=[*RECIPE, *more])
    summary = serve(grid, config, found.items, out, False, (), fingerprint=found.fingerprint)
    lines = [json.loads(line) for line in (out / "audit.jsonl").read_text().splitlines()]
    return summary, [line for line in lines if line["verdict"] == "refused" and line["device"] is None]


@pytest.mark.parametrize(
    "change",
    [
        lambda ids: ids[::-1],
        lambda ids: [ids[1], ids[0], *ids[2:]],  # two items that changed places
        lambda ids: [*ids[:-1], "another"],
        lambda ids: [f"0{item}" for item in ids],  # leading zeros are part of an id
        lambda ids: [f"{item} " for item in ids],
        lambda ids: ids[1:] + ids[:1],
    ],
)
def test_a_catalogue_of_the_same_size_is_refused_by_name_on_both_sides(
    change: Callable[[list[str]], Sequence[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = load("synthetic", LOG)
    own = write_shards(data, 2, tmp_path / "a")
    other = write_shards(renamed(data, change), 2, tmp_path / "b")
    summary, refused = served([own[0], other[1]], tmp_path / "a", tmp_path / "out")
    assert [(line["node"], line["reason"]) for line in refused] == [(2, "foreign")]
    assert "catalogue is " in refused[0]["detail"]
    assert "here it is " in refused[0]["detail"]
    assert "a query message is refused: catalogue: foreign: the server's catalogue is" in caplog.text
    assert summary["evaluated_devices"] == 20


def test_where_all_have_another_catalogue_the_run_ends_with_the_reason(tmp_path: Path) -> None:
    data = load("synthetic", LOG)
    write_shards(data, 2, tmp_path / "a")
    other = write_shards(renamed(data, lambda ids: ids[::-1]), 2, tmp_path / "b")
    with pytest.raises(RunError, match="0 of 1 nodes after .* did not enrol: .*catalogue: foreign"):
        served(other, tmp_path / "a", tmp_path / "out", "strategy.wait_s=0.5")


@pytest.mark.parametrize("copies", [(0, 0, 1), (0, 1, 0), (0, 0, 0), (0, 1, 0, 1)])
def test_a_log_on_two_nodes_counts_once_and_is_told(copies: tuple[int, ...], tmp_path: Path) -> None:
    logs = write_shards(load("synthetic", LOG), 2, tmp_path / "a")
    summary, refused = served([logs[k] for k in copies], tmp_path / "a", tmp_path / "out")
    again = [place for place, k in enumerate(copies) if k in copies[:place]]
    told = [line for line in refused if line["reason"] == "duplicate"]
    assert [line["node"] for line in told] == [place + 1 for place in again]
    assert all("claims 20 devices of other nodes" in line["detail"] for line in told)
    assert summary["evaluated_devices"] == 20 * len(set(copies))
    assert refused == told  # nothing else: its evaluation is not asked for
