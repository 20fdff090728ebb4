"""Nodes whose reply would be too large are asked in several messages, and the round stays one round."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message, MessageType

from attacks.app import app as client_app
from common.errors import ConfigError
from common.wire.replies import LATE
from emulation.local_grid import LocalGrid
from tests.server.federation import config, lines, model, node, run

WHOLE = ("train.rounds=3",)
PARTS = (*WHOLE, "wire.reply_mb=0.004")
"""A device sends about 1 KB: four of them or so fit in a reply."""


class Counting(LocalGrid):
    """Keeps the messages that ask for training, and loses ``lose`` (which of a round, in which round)."""

    def __init__(self, nodes: int = 1, lose: tuple[int, int] | None = None) -> None:
        super().__init__(client_app, [node(f"{k}/{nodes}") for k in range(nodes)])
        self.asked: list[list[Message]] = []
        self.lose = lose

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        sent = list(messages)
        ids = super().push_messages(sent)
        if sent and sent[0].metadata.message_type == MessageType.TRAIN:
            self.asked.append(sent)
            if self.lose is not None and self.lose[1] == len(self.asked):
                del self._waiting[ids[self.lose[0]]]
        return ids


def training(out: Path) -> list[dict[str, Any]]:
    return [line for line in lines(out, "audit") if "evaluation" not in line]


SLICES = ("train.slices=3", "train.slice_size=8")
CODES = ("model.code_books=2", "model.code_rows=7")


@pytest.mark.parametrize(
    "extra",
    [
        (),
        ("strategy.aggregator=sieve",),
        ("train.negatives=device",),
        (*SLICES, "strategy.aggregator=mean"),
        (*SLICES, "train.precision=bfloat16"),
        CODES,
        (*CODES, "strategy.aggregator=mean", "train.precision=bfloat16"),
    ],
)
def test_a_run_in_parts_is_the_run_in_one(tmp_path: Path, extra: tuple[str, ...]) -> None:
    whole, parts = Counting(2), Counting(2)
    run(config(*WHOLE, *extra), tmp_path / "whole", grid=whole)
    run(config(*PARTS, *extra), tmp_path / "parts", grid=parts)
    assert [len(sent) for sent in whole.asked] == [2] * 3
    assert all(len(sent) > 3 for sent in parts.asked)
    assert all(line["nodes_asked"] == line["nodes_answered"] == 2 for line in metrics(tmp_path / "parts"))
    for one, other in zip(training(tmp_path / "whole"), training(tmp_path / "parts"), strict=True):
        assert one.pop("weight", 0.0) == pytest.approx(other.pop("weight", 0.0), abs=1e-6)
        assert one == other
    left, right = model(tmp_path / "whole"), model(tmp_path / "parts")
    for name in ("encoder", "item_table"):
        assert (left[name] - right[name]).abs().max() < 1e-6


def test_what_the_superlink_takes_bounds_a_reply_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 devices of more than 100 KB are one reply by ``wire.reply_mb``, and several where 1 MiB is taken."""
    large = config("train.rounds=1", "model.dim=64", "model.blocks=1")
    whole, parts = Counting(), Counting()
    run(large, tmp_path / "whole", grid=whole)
    monkeypatch.setenv("FEDSIEVE_FLEET_REPLY_MB", "1")
    run(large, tmp_path / "parts", grid=parts)
    assert len(whole.asked[0]) == 1 < len(parts.asked[0])
    monkeypatch.setenv("FEDSIEVE_FLEET_REPLY_MB", "much")
    with pytest.raises(ConfigError, match="FEDSIEVE_FLEET_REPLY_MB: a whole number of MiB"):
        run(large, tmp_path / "nonsense", grid=Counting())


def test_a_part_that_is_lost_costs_its_devices_and_its_node_rests(tmp_path: Path) -> None:
    """The node's other parts count in that round; then it is left out, as after any missed deadline."""
    grid = Counting(2, lose=(0, 1))
    run(config(*PARTS, "strategy.deadline_s=0.5", "train.rounds=2"), tmp_path, grid=grid)
    lost = grid.asked[0][0].metadata.dst_node_id
    first = [line for line in training(tmp_path) if line["round"] == 1]
    (late,) = [line for line in first if line["verdict"] == "refused"]
    assert (late["node"], late["device"], late["detail"]) == (lost, None, repr(LATE))
    assert {line["node"] for line in first if line["verdict"] == "admitted"} == {1, 2}
    assert {message.metadata.dst_node_id for message in grid.asked[1]} == {1, 2} - {lost}


def metrics(out: Path) -> list[dict[str, Any]]:
    return [line for line in lines(out, "metrics") if "split" not in line]
