"""Attackers on one node or on many: the runs that are made, and the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import spread
from benchmarks.marks import marked
from common.errors import ConfigError
from common.settings import load

SMALL = (
    *("data.name=synthetic", "data.max_devices=40", "model.dim=8", "model.max_len=8"),
    *("train.rounds=1", "train.devices_per_round=8", "train.slice_size=40"),
)


def summary(er: float, ndcg: float = 0.1) -> dict[str, object]:
    return {"er@10": er, "test": {"ndcg@10": ndcg}}


def test_a_row_is_beside_parity_on_as_many_nodes() -> None:
    reached = {("parity", 1): 0.1, ("adaptive", 1): 0.3, ("parity", 8): 0.25, ("adaptive", 8): 0.2}
    runs = {
        (rule, attack, nodes, seed): summary(er if rule == "sieve" else 0.9)
        for (attack, nodes), er in reached.items()
        for rule in spread.RULES
        for seed in (0, 1)
    }
    rows = spread.table(runs).splitlines()[2:]
    assert rows[1] == "| adaptive | 1 | 0.900 ± 0.000 | 0.300 ± 0.000 | +0.200 ± 0.000 | 0.1000 ± 0.0000 |"
    assert rows[3].startswith("| adaptive | 8 |")
    assert "-0.050" in rows[3]


def test_a_run_has_as_many_malicious_nodes_as_asked_and_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[bool]] = []
    federate = spread.federate

    def counted(config, out, **more):  # type: ignore[no-untyped-def]
        seen.append(["attack" in node for node in more["nodes"]])
        return federate(config, out, **more)

    monkeypatch.setattr(spread, "federate", counted)
    config = load(spread.CONFIG, [*spread.SET, *SMALL])
    hostile = spread.variant(config, "sieve", "adaptive(mode=encoder)", 1)
    assert hostile.attack.params == {"mode": "encoder"}
    first = spread.one(hostile, 3, 2, tmp_path / "run")
    assert spread.one(hostile, 3, 2, tmp_path / "run") == first
    assert seen == [[False] * 3 + [True] * 2]
    assert "er@10" in first
    with pytest.raises(ConfigError, match=r"other settings: seed was 1, given 2"):
        spread.one(spread.variant(config, "sieve", "adaptive(mode=encoder)", 2), 3, 2, tmp_path / "run")


def test_the_page_has_the_table() -> None:
    shown = marked(spread.PAGE.read_text(encoding="utf-8"), "spread")
    assert all(f"| {attack} |".replace("_", chr(92) + "_") in shown for attack in spread.ATTACKS)
