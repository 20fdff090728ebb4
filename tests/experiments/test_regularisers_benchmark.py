"""The benchmark of the regularisers on a run of a few rounds: its cells, its table, its refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import regularisers
from common.errors import ConfigError, UnknownName
from tests.server.federation import BASE


def test_the_table_is_what_the_runs_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [*BASE, "train.rounds=2", "eval.every=0", "eval.targets=[]", "attack.share=0.25"]
    (tmp_path / "none.yaml").write_text("{}")
    arguments = ["--config", str(tmp_path / "none.yaml"), "--length", "6", "--seeds", "0"]
    arguments += ["--terms", "none", "lookahead=0.5", "--set", *small, "--out", str(tmp_path / "out")]
    regularisers.main(arguments)
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in table] == ["| regulariser", "| none", "| lookahead=0.5"]
    found = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("out/*/summary.json")}
    assert len(found) == 6
    clean = found["lookahead=0.5-mean-control-seed0"]
    sieve = found["lookahead=0.5-sieve-attacked-seed0"]
    cells = table[2].strip("| ").split(" | ")
    assert cells[2] == f"{clean['test']['ndcg@10']:.4f}"
    assert cells[3] == f"{clean['quartiles']['q1']['ndcg@10']:.4f}"
    assert cells[5] == f"{sieve['er@10']:.4f}"
    assert (sieve["attack"], sieve["aggregator"], clean["attack"]) == ("label_to_target", "sieve", "control")


def test_terms_are_read_with_their_parameters_and_wrong_ones_refused() -> None:
    assert regularisers.parse("none") == ()
    assert regularisers.parse("anchor=0.25")[0].params == {"weight": 0.25}
    ahead = regularisers.parse("{name: lookahead, reach: 3}")[0]
    assert (ahead.name, ahead.params) == ("lookahead", {"reach": 3})
    with pytest.raises(UnknownName):
        regularisers.parse("smooth")
    with pytest.raises(ConfigError):
        regularisers.parse("{name: lookahead, raech: 3}")
