"""Ctrl-C during a run keeps what was learned, and says how to go on."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest
from safetensors.torch import load_file

from common.config import RunConfig
from common.settings import load
from emulation.federation import federate
from server.records.report import Evaluation, RoundReport
from server.records.stopping import stoppable
from server.round.state import ServerState


def config(rounds: int = 5) -> RunConfig:
    tiny = [
        "data.name=synthetic",
        "data.path='devices=12,items=30,length=8'",
        "model.dim=4",
        "model.max_len=8",
    ]
    tiny += ["model.blocks=1", "eval.every=0", "train.devices_per_round=6", "train.slice_size=30"]
    return load(overrides=[*tiny, f"train.rounds={rounds}", "strategy.aggregator=mean", "checkpoint_every=0"])


class Interrupting:
    """Presses Ctrl-C as often as asked when a round is over."""

    def __init__(self, at: int, times: int = 1) -> None:
        self.at, self.times = at, times

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        if report.round == self.at:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        pass


def rounds(out: Path) -> list[int]:
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [line["round"] for line in lines if "split" not in line]


def test_an_interrupted_run_is_saved_and_goes_on_to_the_same_model(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    with pytest.raises(KeyboardInterrupt):
        federate(config(), out, listeners=[Interrupting(2)])
    said = [record.getMessage() for record in caplog.records]
    assert "this round is finished and saved, then the run ends; Ctrl-C again ends it at once" in said
    assert said[-1].startswith("interrupted after round 2 of 5; ")
    assert said[-1].endswith(f"go on with `fedsieve run --resume --out {out}`")
    assert rounds(out) == [1, 2]
    federate(config(), out, resume=True)
    federate(config(), whole)
    assert rounds(out) == [1, 2, 3, 4, 5]
    found, expected = (load_file(folder / "model.safetensors") for folder in (out, whole))
    assert found.keys() == expected.keys()
    assert all(found[name].equal(expected[name]) for name in expected)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_one_is_the_end_at_once(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        federate(config(), tmp_path / "out", listeners=[Interrupting(2, 2)])
    assert not (tmp_path / "out" / "state").exists()


def test_signals_of_others_are_left_alone() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)

    def elsewhere() -> None:
        with stoppable():
            pass

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before
