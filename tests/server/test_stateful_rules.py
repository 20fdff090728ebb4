"""Rules that remember rounds: a resumed run is the uninterrupted one."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from server.records.checkpoint import FILE
from tests.server.federation import Watch, config, run
from tests.server.interruption import equal_runs, in_round


@pytest.mark.parametrize(
    ("rule", "pre", "kept"),
    [
        ("centred_clipping", "[]", "rows"),
        ("foolsgold", "[nnm]", "history"),
        ("fldetector", "[]", "history"),
        ("fldetector", "[nnm]", "turns"),
    ],
)
def test_an_interruption_leaves_no_trace(tmp_path: Path, rule: str, pre: str, kept: str) -> None:
    settings = config(f"strategy.aggregator={rule}", f"strategy.pre={pre}", "train.rounds=3", "eval.every=3")
    run(settings, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        run(settings, tmp_path / "parts", listeners=[Watch(in_round(3))])
    assert load_file(tmp_path / "parts" / "state" / FILE)[f"aggregator/{kept}"].abs().max() > 0
    run(settings, tmp_path / "parts", resume=True)
    equal_runs(tmp_path / "whole", tmp_path / "parts")
