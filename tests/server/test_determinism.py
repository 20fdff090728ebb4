"""The seed decides a run: not the clock, not the transport, not which node holds a device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client.app import app as client_app
from emulation.local_grid import LocalGrid
from tests.server.federation import config, lines, model, node, run, same_model, timeless


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first") / "run"
    run(config(), out)
    return out


def test_a_second_run_is_bit_identical(first: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)  # the global generator must not matter
    run(config(), tmp_path)
    assert same_model(first, tmp_path)
    for name in ("metrics", "audit"):
        assert timeless(lines(tmp_path, name)) == timeless(lines(first, name))


def test_the_model_is_trained_at_all(first: Path, tmp_path: Path) -> None:
    run(config("strategy.lr=1e-30"), tmp_path)
    assert not same_model(first, tmp_path)


def test_another_seed_is_another_run(first: Path, tmp_path: Path) -> None:
    run(config("seed=1"), tmp_path)
    mine, theirs = model(tmp_path), model(first)
    assert (mine["item_table"] - theirs["item_table"]).abs().max() > 1e-3
    asked = [[(a["node"], a["device"]) for a in lines(out, "audit")] for out in (first, tmp_path)]
    assert asked[0] != asked[1]


def test_flowers_byte_format_changes_nothing(first: Path, tmp_path: Path) -> None:
    run(config(), tmp_path, grid=LocalGrid(client_app, [node()], serialise=True))
    assert same_model(first, tmp_path)


@pytest.mark.parametrize("aggregator", ["mean", "geometric_median"])
def test_one_node_or_four_give_the_same_model(tmp_path: Path, aggregator: str) -> None:
    settings = config(f"strategy.aggregator={aggregator}")
    run(settings, tmp_path / "one")
    run(settings, tmp_path / "four", [node(f"{i}/4") for i in range(4)])
    one, four = model(tmp_path / "one"), model(tmp_path / "four")
    for name in one:
        assert (one[name] - four[name]).abs().max() <= 1e-6
    rounds = [[(a["round"], a["device"]) for a in lines(tmp_path / n, "audit")] for n in ("one", "four")]
    assert sorted(rounds[0]) == sorted(rounds[1])
    assert {a["node"] for a in lines(tmp_path / "four", "audit")} == {1, 2, 3, 4}
    one_sums, four_sums = (
        timeless(m for m in lines(tmp_path / n, "metrics") if m.get("split") == "test")
        for n in ("one", "four")
    )
    assert four_sums[0].pop("over_nodes")["nodes"] == 4
    assert four_sums[0] == pytest.approx(one_sums[0], abs=1e-6)


def test_half_precision_on_the_wire_is_close_and_not_equal(first: Path, tmp_path: Path) -> None:
    run(config("wire.dtype=float16", "strategy.optimizer=sgd", "strategy.lr=1"), tmp_path / "half")
    run(config("strategy.optimizer=sgd", "strategy.lr=1"), tmp_path / "full")
    gap = (model(tmp_path / "half")["item_table"] - model(tmp_path / "full")["item_table"]).abs().max()
    assert 0 < gap < 1e-3
