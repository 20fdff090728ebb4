"""A node whose log has changed during a run: both sides say it, and its evaluation of what it has is used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message, MessageType

from client.app import app as client_app
from common.data import load
from common.data.cut import only
from common.data.shards import write_log
from emulation.local_grid import LocalGrid
from tests.server.federation import LOG, config, run

EVENS, ODDS = tuple(range(0, 40, 2)), tuple(range(1, 40, 2))
SECOND = 2


class Changing(LocalGrid):
    """Before round ``at`` node 2 starts anew with another log; with ``gone`` the SuperLink has noticed."""

    def __init__(self, logs: Sequence[Path], after: Path, gone: bool) -> None:
        super().__init__(client_app, [{"path": str(log), "min_group": 1, "repeatable": True} for log in logs])
        self.after, self.gone, self.asked = after, gone, 0

    def get_node_ids(self) -> list[int]:
        """While it starts, node 2 is away once."""
        away = self.gone and self.asked == 2
        if away:
            self.gone = False
        return [node for node in super().get_node_ids() if not (away and node == SECOND)]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        sent = list(messages)
        if sent[0].metadata.message_type == MessageType.TRAIN:
            self.asked += 1
            if self.asked == 2:
                self.context(SECOND).node_config["path"] = str(self.after)
        return super().push_messages(sent)


def changed(tmp_path: Path, after: Sequence[int], gone: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Summary and audit of a run in which node 2 goes on with the devices at the places ``after``."""
    data = load("synthetic", LOG)
    parts = {"one": EVENS, "two": ODDS, "after": after}
    logs = {
        name: write_log(only(data, np.array(places)), tmp_path / "logs", f"{name}.parquet")
        for name, places in parts.items()
    }
    grid = Changing([logs["one"], logs["two"]], logs["after"], gone)
    settings = config(
        "train.rounds=5", "train.devices_per_round=40", "eval.targets=[]", "train.slice_size=30"
    )
    summary = run(settings, tmp_path / "out", grid=grid)
    return summary, [json.loads(line) for line in (tmp_path / "out" / "audit.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("lost", [1, 7, 19])
def test_both_sides_say_which_devices_are_lost_and_the_others_go_on(
    lost: int, gone: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    summary, audit = changed(tmp_path, ODDS[lost:], gone)
    assert summary["evaluated_devices"] == 40 - lost
    told = [line for line in audit if "has lost" in line["detail"]]
    assert [(line["node"], line["reason"]) for line in told] == [(SECOND, "missing")]
    assert told[0]["detail"].startswith(f"has lost {lost} of the 20 devices that it came with, such as ")
    assert caplog.text.count("that it came with, such as") == 1
    said = f"the server knew 20 devices of this node, and its log has {20 - lost}: {lost} are lost"
    assert caplog.text.count(said) == 1
    assert caplog.text.count("the server asks for") == 1  # in the round in which they were asked for
    evaluations = [line for line in audit if line.get("evaluation")]
    assert {line["verdict"] for line in evaluations} == {"admitted"}
    last = {line["reason"] for line in audit if line["round"] == 5 and "evaluation" not in line}
    assert last <= {"", "idle"}


@pytest.mark.parametrize("gone", [True, False])
def test_a_device_that_moved_to_another_node_counts_where_it_was(gone: bool, tmp_path: Path) -> None:
    """The other node has it too: what node 2 says of it is scaled away, and the rest is used."""
    after = [*ODDS[1:], EVENS[0]]
    summary, audit = changed(tmp_path, sorted(after), gone)
    assert any("has lost 1 of the 20 devices" in line["detail"] for line in audit)
    assert any("claims 1 devices that it did not come with" in line["detail"] for line in audit)
    evaluated = [line for line in audit if line.get("evaluation") == "test"]
    assert [(line["node"], line["verdict"]) for line in evaluated] == [(1, "admitted"), (SECOND, "clipped")]
    assert evaluated[1]["detail"] == "counts as 0.95 times its 20 devices"
    assert evaluated[1]["reason"] == "unknown_device"
    assert summary["evaluated_devices"] == 39


def test_a_log_without_any_of_the_devices_is_no_answer_and_ends_nothing(tmp_path: Path) -> None:
    summary, audit = changed(tmp_path, EVENS[:3], True)
    assert summary["evaluated_devices"] == 20
    assert any("has lost 20 of the 20 devices" in line["detail"] for line in audit)
    assert [line["node"] for line in audit if line.get("evaluation") == "test"] == [1]


@pytest.mark.parametrize("gone", [True, False])
def test_a_history_that_grew_is_evaluated_as_it_is(gone: bool, tmp_path: Path) -> None:
    """Its quartile is another than the server knew: that costs one evaluation, and the node is asked anew."""
    data = load("synthetic", LOG)
    parts = {"even": EVENS, "odd": ODDS}
    own = [write_log(only(data, np.array(p)), tmp_path / "l", f"{n}.parquet") for n, p in parts.items()]
    longer = load("synthetic", LOG.replace("length=8", "length=14"))
    after = write_log(only(longer, np.array(ODDS)), tmp_path / "l", "after.parquet")
    grid = Changing(own, after, gone)
    summary = run(config("train.rounds=4", "eval.targets=[]"), tmp_path / "out", grid=grid)
    assert summary["evaluated_devices"] == 40
    audit = [json.loads(line) for line in (tmp_path / "out" / "audit.jsonl").read_text().splitlines()]
    told = [line["verdict"] for line in audit if line.get("evaluation")]
    assert told[-2:] == ["admitted"] * 2
    assert told.count("refused") == 1
