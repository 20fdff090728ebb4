"""An attack that remembers goes on after an interruption as if there had been none."""

from __future__ import annotations

from pathlib import Path

import pytest
from flwr.app import ArrayRecord, RecordDict

from emulation.federation import federate
from emulation.local_grid import LocalGrid
from tests.server.federation import Watch, config
from tests.server.interruption import equal_runs, in_round

REMEMBERING = {
    "pieck_ipe": {},
    "poison_frs": {},
    "cluster_attack": {"patience": 2},
    "replay": {},
}
"""Attacks that keep something in the node's memory, with parameters under which four rounds show it."""


@pytest.mark.parametrize("name", sorted(REMEMBERING))
def test_a_resumed_run_is_the_run_that_was_not_interrupted(tmp_path: Path, name: str) -> None:
    settings = config(
        f"attack={{name: {name}, share: 0.4, params: {REMEMBERING[name]}}}",
        *("train.rounds=6", "train.slice_size=30", "eval.every=0", "eval.targets=[]"),
    )
    federate(settings, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        federate(settings, tmp_path / "cut", listeners=[Watch(in_round(5))])
    federate(settings, tmp_path / "cut", resume=True)
    equal_runs(tmp_path / "whole", tmp_path / "cut")


def test_forgetting_would_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config(
        *("attack.name=pieck_ipe", "attack.share=0.4", "train.rounds=6", "eval.every=0", "eval.targets=[]"),
        "train.slice_size=30",
    )
    federate(settings, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        federate(settings, tmp_path / "cut", listeners=[Watch(in_round(5))])
    monkeypatch.setattr(LocalGrid, "remember", lambda self, memory: None)
    federate(settings, tmp_path / "cut", resume=True)
    with pytest.raises(AssertionError):
        equal_runs(tmp_path / "whole", tmp_path / "cut")


def grid() -> LocalGrid:
    return LocalGrid(lambda message, context: message, [{"name": "a"}, {"name": "b"}])


def test_memory_travels_as_bytes() -> None:
    one, other = grid(), grid()
    one.context(2).state["kept"] = ArrayRecord({})
    kept = one.memory()
    assert list(kept) == [2]  # who remembers nothing takes no space
    other.context(1).state["old"] = ArrayRecord({})
    other.remember(kept)
    assert other.context(2).state == one.context(2).state
    assert other.context(1).state == RecordDict()


def test_damaged_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="node 2"):
        grid().remember({2: b"\xff\xff\xff"})
