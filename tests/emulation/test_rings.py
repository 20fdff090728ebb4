"""A round leaves no tensor to Python's garbage collector: the next round would need room beside it."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from common.settings import load
from emulation.federation import federate
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState

SMALL = (
    "data.name=synthetic",
    "model.dim=8",
    "model.max_len=12",
    "model.blocks=1",
    "train.rounds=4",
    "train.devices_per_round=32",
    "train.slice_size=60",
    "eval.every=1",
)


class Rings:
    """Shapes of tensors that only the collector could free after a round; the first two load modules."""

    def __init__(self) -> None:
        self.left: list[tuple[int, ...]] = []
        self.rounds: list[int] = []

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        del state
        assert not report.skipped, report.why
        self.rounds.append(report.round)
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            gc.collect()
        finally:
            gc.set_debug(0)
        found = [tuple(one.shape) for one in gc.garbage if isinstance(one, torch.Tensor)]
        gc.garbage.clear()
        gc.collect()  # what was saved is still a ring
        self.left += found if report.round > 2 else []

    def on_evaluation(self, evaluation: Evaluation) -> None:
        pass


@pytest.mark.parametrize(
    "given",
    [
        ["strategy.aggregator=mean"],
        ["strategy.aggregator=sieve", "attack.name=adaptive", "attack.share=0.2"],
        ["train.slices=3", "train.slice_size=20", "train.local_steps=2"],
        ["train.negatives=device", "model.name=bert4rec"],
    ],
    ids=["mean", "sieve, attacked", "several slices", "own negatives, cloze"],
)
def test_no_tensor_waits_for_the_collector(given: list[str], tmp_path: Path) -> None:
    rings = Rings()
    gc.disable()
    try:
        federate(load(None, [*SMALL, *given]), tmp_path / "run", listeners=[rings])
    finally:
        gc.enable()
    assert rings.rounds == [1, 2, 3, 4]
    assert rings.left == []
