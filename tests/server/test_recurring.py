"""A server does not know the log: nodes tell how many of their answers recur, which decides what leads."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from client.app import app as client_app
from common.data import load, write_shards
from common.errors import WireError
from common.settings import load as settings
from common.wire import decode_evaluate_sums, encode_evaluate_sums
from emulation.federation import recurring
from emulation.local_grid import LocalGrid
from experiments.run_files import ranked, summary_table
from experiments.run_tables import metric_table
from server.app import serve
from server.records.progress import LogProgress
from tests.common.wire.samples import ROUND, RUN, sums, sums_spec

RECIPE = [
    *("train.rounds=1", "train.devices_per_round=8", "train.slice_size=12", "model.dim=4", "model.max_len=8"),
    *("model.blocks=1", "eval.every=0", "device=cpu", "strategy.aggregator=mean"),
]


def log(folder: Path, repeats: int, users: int = 24, step_between: int = 1) -> Path:
    """Of ``repeats`` users the last item is their first again; the others have no item twice.

    step_between: 1 for the first users of the log, 4 for every fourth.
    """
    lines = []
    for user in range(users):
        items = [(user + step) % 12 for step in range(8)]
        items[-1] = items[0] if user in range(0, repeats * step_between, step_between) else items[-1]
        lines += [f"u{user:02},i{item},{when}" for when, item in enumerate(items)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.csv").write_text("\n".join(["user,item,time", *lines]) + "\n", encoding="utf-8")
    return folder / "log.csv"


def served(
    folder: Path, repeats: int, nodes: Sequence[dict[str, Any]], step_between: int = 1
) -> tuple[dict[str, Any], float]:
    data = load("", str(log(folder, repeats, step_between=step_between)))
    shards = write_shards(data, len(nodes), folder / "shards")
    grid = LocalGrid(client_app, [{"path": str(p), **own} for p, own in zip(shards, nodes, strict=True)])
    config = settings(overrides=[*RECIPE, f"data.path={folder / 'log.csv'}"])
    summary = serve(grid, config, data.num_items, folder / "out", listeners=[LogProgress(1)])
    return summary, recurring(data)["test"]


@pytest.mark.parametrize("repeats", [24, 12, 5, 1])
def test_the_summary_says_what_an_emulation_would_and_the_unfiltered_figure_leads(
    repeats: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="flwr"):
        summary, share = served(tmp_path, repeats, [{}, {}])
    assert share == pytest.approx(repeats / 24)
    assert summary["recurring"]["test"] == pytest.approx(share, abs=1e-4)
    assert f"{share:.1%} of the test answers recur" in summary["protocol"]
    assert ranked(summary, "test")[0][0] == "test, unfiltered"
    assert metric_table(summary)[1][0][0] == "test, unfiltered"
    assert "test, unfiltered" in next(iter(c for c in summary_table(summary).columns)).__dict__["_cells"]
    assert f"test unfiltered: HR@10 {summary['test']['hr@10_unfiltered']:.4f}" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["recurring"] == pytest.approx(share, abs=1e-4)


def test_where_nothing_recurs_nothing_is_said(tmp_path: Path) -> None:
    summary, _ = served(tmp_path, 0, [{}, {}])
    assert "recurring" not in summary
    assert ranked(summary, "test")[0][0] == "test"


def test_one_node_of_several_does_not_change_which_figure_leads(tmp_path: Path) -> None:
    """A quarter of the answers recur: on one node of four alone, or on all of them."""
    alone, share = served(tmp_path / "alone", 6, [{}] * 4, step_between=4)
    spread, same = served(tmp_path / "spread", 6, [{}] * 4)
    assert share == same == 0.25
    assert "recurring" not in alone
    assert ranked(alone, "test")[0][0] == "test"
    assert spread["recurring"]["test"] == 0.25
    assert ranked(spread, "test")[0][0] == "test, unfiltered"


def test_a_node_alone_among_those_that_answer_by_chance_does_not_either(tmp_path: Path) -> None:
    summary, _ = served(tmp_path, 12, [{}, {"min_group": 50}, {"min_group": 50}])
    assert "recurring" not in summary


def test_nodes_that_answer_by_chance_say_nothing_of_it(tmp_path: Path) -> None:
    """The others' share stands for all: 6 of the 12 devices of node 1 recur."""
    summary, _ = served(tmp_path, 12, [{}, {"min_group": 50}])
    assert summary["recurring"]["test"] == pytest.approx(0.5)


@pytest.mark.parametrize(("given", "epsilon"), [(11, 0.0), (-1, 0.0), (1, 3.0)])
def test_no_more_answers_recur_than_there_are(given: int, epsilon: float) -> None:
    found = replace(sums(), recurring=given, epsilon=epsilon)
    if epsilon:
        found.count[1:], found.metrics[1:], found.eligible[:], found.exposure[:] = 0, 0, 0, 0
    with pytest.raises(WireError, match="recurring: range"):
        decode_evaluate_sums(encode_evaluate_sums(found, RUN, ROUND), sums_spec())


def test_the_number_comes_back_as_it_was_sent() -> None:
    sent = encode_evaluate_sums(replace(sums(), recurring=7), RUN, ROUND)
    assert decode_evaluate_sums(sent, sums_spec()).recurring == 7
    assert torch.equal(decode_evaluate_sums(sent, sums_spec()).count, sums().count)
