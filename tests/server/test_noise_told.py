"""What a run with options on updates says of them: in its summary and its protocol line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from common.accounting import DELTA, local_epsilon
from server.records.outputs import RunFolder
from server.records.participation import most_rounds
from server.records.protocol_line import protocol
from tests.server.federation import config, lines, run

NOISE = ("client.clip=0.5", "client.noise=2.0")


def test_epsilon_is_that_of_the_device_that_took_part_most_often(tmp_path: Path) -> None:
    summary = run(config(*NOISE), tmp_path / "run")
    rounds = max(Counter(line["device"] for line in lines(tmp_path / "run", "audit")).values())
    assert 1 < rounds <= 4
    epsilon = local_epsilon(2.0, rounds)
    told = {"epsilon": epsilon, "delta": DELTA, "clip": 0.5, "noise": 2.0, "rounds_per_device": rounds}
    assert summary["privacy"] == told
    assert "; updates: clip 0.5, noise 2;" in summary["protocol"]
    end = f"; local ε {epsilon:.4g} at δ 1e-05 after {rounds} rounds of a device"
    assert summary["protocol"].endswith(end)


def test_without_noise_nothing_is_promised(tmp_path: Path) -> None:
    summary = run(config("client.clip=0.5"), tmp_path / "run")
    assert "privacy" not in summary
    assert "ε" not in summary["protocol"]


def test_the_protocol_names_every_option() -> None:
    text = protocol(config("client.decoys=5", "client.quantise=top_k", "client.top_k=3"))
    assert "; updates: 5 decoys, top_k rows 3" in text
    assert "sign rows" in protocol(config("client.quantise=sign"))
    assert "updates:" not in protocol(config("client.top_k=3"))


@pytest.mark.parametrize(
    ("entries", "most"),
    [
        ([], 0),
        ([(1, 1, 7, ""), (1, 1, 8, ""), (2, 1, 7, ""), (2, 2, 7, "")], 2),
        ([(1, 1, 7, ""), (1, 1, 8, ""), (2, 1, None, "failed"), (1, 2, 3, ""), (2, 2, 3, "")], 2),
        ([(1, 1, 7, ""), (2, 1, None, "failed"), (3, 1, None, "quota")], 2),
        ([(1, 1, None, "failed"), (2, 1, None, "failed"), (1, 2, 3, "")], 2),
        ([(1, 1, 7, ""), (1, 1, None, "missing"), (2, 1, 7, ""), (2, 1, None, "missing")], 2),
    ],
)
def test_a_reply_that_was_lost_counts_for_every_device_of_its_node(
    tmp_path: Path, entries: list[tuple[int, int, int | None, str]], most: int
) -> None:
    """The server may have read what it did not use; a cut to the quota is no reply; a round counts once."""
    text = [
        json.dumps({"round": r, "node": n, "device": d, "reason": why}) + "\n" for r, n, d, why in entries
    ]
    text.append(json.dumps({"node": 1, "device": None, "reason": "", "evaluation": "test"}) + "\n")
    (tmp_path / "audit.jsonl").write_text("".join(text))
    assert most_rounds(tmp_path) == most


def test_rounds_that_ran_again_after_a_crash_count_as_often_as_devices_may_have_answered(
    tmp_path: Path,
) -> None:
    """The checkpoint is of round 2, rounds 3 and 4 were lost, and a fifth may have begun."""
    every = config(*NOISE, "checkpoint_every=2", "train.rounds=6")
    out = tmp_path / "run"
    whole = run(every, tmp_path / "whole")["privacy"]["rounds_per_device"]
    saved = RunFolder.settled

    def dies(self: RunFolder, round_: int, *rest: Any) -> None:
        if round_ == 4:
            raise RuntimeError("power cut")
        saved(self, round_, *rest)

    for _ in range(2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunFolder, "settled", dies)
            with pytest.raises(RuntimeError, match="power cut"):
                run(every, out, resume=True)
    found = run(every, out, resume=True)["privacy"]
    assert found["rounds_per_device"] == whole + 2 * (2 + 1)
    assert found["epsilon"] == local_epsilon(2.0, found["rounds_per_device"])


def test_a_crash_before_the_first_checkpoint_counts_too(tmp_path: Path) -> None:
    late = config(*NOISE, "checkpoint_every=0")
    whole = run(late, tmp_path / "whole")["privacy"]["rounds_per_device"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "settled", broken)
        with pytest.raises(RuntimeError, match="power cut"):
            run(late, tmp_path / "run")
    found = run(late, tmp_path / "run", resume=True)["privacy"]
    assert found["rounds_per_device"] == whole + 3 + 1  # three rounds lost, and a fourth may have begun


def test_a_run_that_was_asked_to_stop_sends_nothing_twice(tmp_path: Path) -> None:
    settings = config(*NOISE)
    whole = run(settings, tmp_path / "whole")["privacy"]
    saved = RunFolder.settled

    def stopped(self: RunFolder, round_: int, *rest: Any) -> None:
        self.stop.asked = round_ == 2
        saved(self, round_, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "settled", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(settings, tmp_path / "run")
    assert run(settings, tmp_path / "run", resume=True)["privacy"] == whole


def broken(self: RunFolder, round_: int, *rest: Any) -> None:
    if round_ == 3:
        raise RuntimeError("power cut")
