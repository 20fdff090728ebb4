"""Rounds on code rows: whole runs, what they count, and what cannot be with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from attacks.app import app
from common.data import load
from common.data.cut import training
from common.errors import ConfigError
from emulation.federation import federate
from emulation.local_grid import LocalGrid
from experiments.trained import open_run
from server.constraints.panel import PULLED, PUSHED, TRAINED
from server.round.drawing import draw_round, slice_size
from server.round.pipeline import Pipeline
from server.round.popularity import PRIOR, of_items
from tests.server.federation import ITEMS, Watch, config, lines, model, node, refusals, run, same_model
from tests.server.interruption import equal_runs

CODES = ("model.code_books=2", "model.code_rows=7")
CONSTRAINTS = "[row_norm_cap, {name: row_drift, factor: 1.0}, row_trust, variance_floor, encoder_step]"


@pytest.mark.parametrize("rule", ["mean", "sieve", "median", "hics", "union", "fltrust"])
def test_a_run_learns_on_code_rows(rule: str, tmp_path: Path) -> None:
    watch = Watch()
    changes = (f"strategy.aggregator={rule}", "train.rounds=12", "eval.every=0")
    summary = federate(config(*CODES, *changes), tmp_path, listeners=[watch])
    assert "slice 20 (popularity^0.5), 2 x 7 code rows" in summary["protocol"]
    assert refusals(tmp_path) == set()
    first, last = watch.states[0].model, watch.states[-1].model
    assert last.table.shape == (15, 4)
    assert last.num_items == ITEMS
    moved = (first.table[1:] != last.table[1:]).any(dim=1)  # a rule of rows may hold some back
    assert float(moved.float().mean()) > 0.9
    assert not bool(last.table[0].any())


def test_devices_send_their_encoder_and_all_code_rows(tmp_path: Path) -> None:
    watch = Watch()
    run(config(*CODES, "wire.dtype=float16", "train.slice_size=30"), tmp_path, listeners=[watch])
    figures, last = watch.rounds[-1].figures, watch.states[-1].model
    values = 2 * (len(last.encoder) + 14 * 4)
    assert values < figures["bytes_up"] / figures["admitted"] < values + 200


def test_messages_say_the_same_through_flowers_bytes(tmp_path: Path) -> None:
    for name, serialise in (("copied", False), ("bytes", True)):
        grid = LocalGrid(app, [node()], serialise=serialise)
        run(config(*CODES), tmp_path / name, grid=grid)
    assert same_model(tmp_path / "copied", tmp_path / "bytes")


def test_the_nodes_that_hold_the_devices_do_not_matter(tmp_path: Path) -> None:
    run(config(*CODES), tmp_path / "one")
    run(config(*CODES), tmp_path / "two", [node("0/2"), node("1/2")])
    assert same_model(tmp_path / "one", tmp_path / "two")


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    settings = config(*CODES, "train.rounds=6", "checkpoint_every=2", f"strategy.constraints={CONSTRAINTS}")
    run(settings, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        run(settings, tmp_path / "cut", listeners=[Watch(lambda report: report.round == 5)])
    run(settings, tmp_path / "cut", resume=True)
    equal_runs(tmp_path / "whole", tmp_path / "cut")


def test_a_finished_run_recommends_from_the_catalogue(tmp_path: Path) -> None:
    run(config(*CODES), tmp_path)
    opened = open_run(tmp_path)
    assert opened.num_items == ITEMS
    assert opened.scores(np.array([3, 7], dtype=np.int32)).shape == (ITEMS + 1,)
    assert torch.equal(opened.parameters.table, model(tmp_path)["item_table"])


def test_constraints_on_rows_hold_code_rows(tmp_path: Path) -> None:
    changes = (f"strategy.constraints={CONSTRAINTS}",)
    run(config(*CODES, *changes), tmp_path)
    figures = [line for line in lines(tmp_path, "metrics") if "row_drift.clipped" in line]
    assert len(figures) == 4
    assert all(0 < line["row_drift.clipped"] < 1 for line in figures)


def test_an_item_is_held_by_who_moved_all_of_its_rows() -> None:
    marks = torch.tensor([[TRAINED, PULLED, PULLED, TRAINED], [PUSHED, PULLED, TRAINED, 0]], dtype=torch.int8)
    wanted = torch.tensor([[4, 8], [2, 8], [4, 6]])
    found = of_items(marks, torch.tensor([2, 4, 6, 8], dtype=torch.int32), wanted)
    expected = [[TRAINED, TRAINED, PULLED], [0, 0, TRAINED]]
    assert found.tolist() == expected


def test_popularity_of_items_shows_through_code_rows(tmp_path: Path) -> None:
    """Of a hundred items on 4 x 11 rows, after 60 rounds."""
    log = "devices=80,items=100,length=12"
    changes = ("model.code_books=4", "model.code_rows=11", "train.rounds=60", "train.slice_size=40")
    watch = Watch()
    federate(
        config(*changes, f"data.path='{log}'", "eval.every=0", "eval.targets=[]", "model.dim=16"),
        tmp_path,
        listeners=[watch],
    )
    state = watch.states[-1]
    assert state.pulls.shape == (100,)
    told = (state.pulls / (state.trained + PRIOR)).numpy()
    held = np.bincount(training(load("synthetic", log).sequences).flat(), minlength=101)[1:]
    ranks = np.corrcoef(told.argsort().argsort(), held.argsort().argsort())[0, 1]
    assert ranks > 0.6


class Devices:
    """Twenty devices with up to eight next items."""

    count = 20

    def next_items(self, most: int) -> torch.Tensor:
        return torch.arange(20, 20 - most, -1)

    def sample(self, count: int, generator: torch.Generator, round_: int) -> dict[int, torch.Tensor]:
        return {1: torch.arange(count)}


def test_a_slice_is_drawn_among_items_and_rows_are_sent() -> None:
    settings = config(*CODES, "train.slice_size=auto", "train.busy_share=0.7")
    pipeline = Pipeline.build(settings, 29)
    state = pipeline.init()
    drawing = draw_round(settings, "run", 1, state.model, state, Devices())
    plain = config("train.slice_size=auto", "train.busy_share=0.7")
    assert len(drawing.task.items) == slice_size(plain, 29, Devices())
    assert int(drawing.task.items.max()) > 14
    assert drawing.task.rows.tolist() == list(range(1, 15))
    assert drawing.spec().items.tolist() == list(range(1, 15))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ("train.slices=4", "train.slices above 1: with model.code_books a device sends all code rows"),
        ("train.negatives=device", "train.negatives: device sends rows of a device's own items"),
        ("strategy.constraints=[exposure_cap]", "'exposure_cap' holds down the row of one item"),
        (
            "strategy.constraints=[row_drift,popularity_cap]",
            "'popularity_cap' holds down the row of one item",
        ),
        ("client.decoys=3", "client.decoys is 3: a decoy is one row"),
        ("model.code_rows=5", "25 different codes, the catalogue 30 items; expected a prime from 7 on"),
        ("attack.name=false_witness", "attack.name: 'false_witness' turns the rows of single items"),
    ],
)
def test_what_cannot_be_with_codes_is_refused_in_one_line(settings: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=text) as raised:
        federate(config(*CODES, settings), tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_without_codes_nothing_of_it_is_in_messages_or_files(tmp_path: Path) -> None:
    run(config(), tmp_path)
    assert model(tmp_path)["item_table"].shape == (ITEMS + 1, 4)
    assert "code" not in json.loads((tmp_path / "summary.json").read_text())["protocol"]


def test_the_start_is_drawn_from_the_seed() -> None:
    one, other = (Pipeline.build(config(*CODES), ITEMS).init().model.table for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, Pipeline.build(config(*CODES, "seed=1"), ITEMS).init().model.table)
