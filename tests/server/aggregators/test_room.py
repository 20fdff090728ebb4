"""What rules need beside the updates: a round of 10,000 devices has to fit where it was received."""

from __future__ import annotations

import pytest
import torch

from benchmarks.rules import make, served
from common.settings import component
from common.updates import DeviceUpdates
from server.aggregators import AGGREGATORS, build_aggregator, coordinates, gram, products, sketch
from server.aggregators.pre import with_pre
from tests.server.aggregators.allocations import Allocations

N, ROWS, DIM, WIDTH = 400, 20, 64, 32
"""n²·8 bytes beside n·(P + K·d)·4: the proportion of 10,000 devices with 512 rows of 64 and no encoder."""

SLOW = {"mda", "bulyan", "caf", "dnc", "flame", "signguard"}
"""Rules whose time, of n³ or n² searches, ends before their memory does (docs/performance.md)."""

PRE = ("nnm", "bucketing", "arc", "clip")
CASES = [(rule, "") for rule in sorted(set(AGGREGATORS) - SLOW)]
CASES += [(rule, pre) for rule in ("mean", "krum", "median") for pre in PRE]


@pytest.fixture(autouse=True)
def _blocks_as_small_as_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    for room, name, size in (
        (gram, "BLOCK", 1 << 13),
        (products, "ROOM", 1 << 13),
        (products, "SMALL", 0),
        (products, "SAMPLED", 64),
        (products, "RUN", 4),
        (sketch, "SPACE", 1 << 13),
        (sketch, "FOLD", 64),
        (coordinates, "CHUNK", 1 << 13),
    ):
        monkeypatch.setattr(room, name, size)
    monkeypatch.setattr(coordinates.settled, "__defaults__", (None, 1 << 13))


def tensors(updates: DeviceUpdates) -> tuple[torch.Tensor, ...]:
    return updates.encoder, updates.rows, updates.items, updates.history, updates.device


@pytest.mark.parametrize(("name", "pre"), CASES)
def test_a_rule_takes_no_more_than_twice_the_updates_beside_them(name: str, pre: str) -> None:
    small = {"width": 32} if name in ("foolsgold", "fldetector") else {}  # of a sketch: like FOLD
    rule = with_pre(build_aggregator(component(name, **small)), [component(pre)] if pre else [])
    updates = make(N, WIDTH, ROWS, DIM)
    own = sum(t.numel() * t.element_size() for t in tensors(updates)[:2])
    with Allocations().given(*tensors(updates)) as counted:
        rule(updates, rule.init(), served(updates, N // 5))
    assert counted.peak <= 2 * own


def test_what_is_alive_at_once_is_counted() -> None:
    with Allocations() as counted:
        one = torch.zeros(1000)
        other = one + 1
        del one
        other = other * 2
        assert counted.peak == 8000
        torch.cat([other, other, other])
    assert counted.peak == 16000
    assert counted.largest == 12000
