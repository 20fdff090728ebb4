"""A reply that is held costs its sender the round, and an embedded run not a second."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from flwr.app import RecordDict

from attacks import build_attack
from common.errors import ConfigError
from emulation.federation import federate
from tests.attacks.samples import view
from tests.client import samples
from tests.server.federation import config, lines, same_model

DEADLINE_S = 20
SLOW = ("attack.name=slow_reply", "attack.share=0.4", "eval.every=0", "eval.targets=[]", "train.rounds=8")


def test_it_waits_and_then_sends_what_it_has() -> None:
    slept: list[float] = []
    reply = RecordDict()
    seen = replace(view(samples.task()), sleep=slept.append)
    assert build_attack("slow_reply", {"seconds": 7.5}).tamper(reply, seen) is reply
    assert slept == [7.5]


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf, 1e10, 10**400])
def test_a_wait_for_ever_is_refused(seconds: float) -> None:
    told = r"seconds must be a (finite number|number from 0 to 1000000000), given"
    with pytest.raises(ConfigError, match=told):
        build_attack("slow_reply", {"seconds": seconds})


def test_a_run_with_slow_replies_goes_on_without_them_and_without_waiting(tmp_path: Path) -> None:
    started = time.monotonic()
    federate(config(*SLOW, "attack.params={seconds: 1e6}"), tmp_path)
    assert time.monotonic() - started < DEADLINE_S
    audit = [line for line in lines(tmp_path, "audit") if line["node"] == 2]
    late = [line for line in audit if line["verdict"] == "refused"]
    assert audit == late
    assert [line["round"] for line in late] == [1, 6]  # between the two it rests and costs no deadline
    assert all("no reply by the deadline" in line["detail"] for line in late)


def test_a_reply_within_the_deadline_is_an_honest_one(tmp_path: Path) -> None:
    federate(config(*SLOW, f"attack.params={{seconds: {DEADLINE_S - 1}}}"), tmp_path / "slow")
    federate(config(*SLOW, "attack.name=control", "attack.params={}"), tmp_path / "clean")
    assert same_model(tmp_path / "slow", tmp_path / "clean")
