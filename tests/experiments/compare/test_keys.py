"""Equal keys are the same computation, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from common.data import content_digest, load
from experiments.compare import keys
from experiments.compare.keys import cell_key, code_version
from tests.server.federation import LOG, config


def test_the_key_follows_every_setting_but_how_often_to_save() -> None:
    base = cell_key(config(), "data")
    assert base == cell_key(config("checkpoint_every=7"), "data")
    others = [
        cell_key(config("seed=5"), "data"),
        cell_key(config("attack.name=zero"), "data"),
        cell_key(config("eval.every=1"), "data"),
        cell_key(config(), "other data"),
    ]
    assert len({base, *others}) == 5
    assert len(base) == keys.DIGITS
    assert int(base, 16) >= 0


def test_another_code_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cell_key(config(), "data")
    assert code_version() == code_version()
    monkeypatch.setattr(keys, "code_version", lambda: "changed")
    assert cell_key(config(), "data") != before


@pytest.mark.parametrize("name", ["server/round/pipeline.py", "common/data/split.py", "emulation/targets.py"])
def test_every_file_that_a_run_executes_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for one in (name, "experiments/cli.py"):
        (tmp_path / one).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / one).write_text("1\n")
    monkeypatch.setattr(keys, "ROOT", tmp_path)
    fresh = code_version.__wrapped__
    before = fresh()
    (tmp_path / "experiments" / "cli.py").write_text("2\n")  # how it is called is no matter
    assert fresh() == before
    (tmp_path / name).write_text("2\n")
    assert fresh() != before


def test_the_digest_of_a_log_follows_histories_and_numbers() -> None:
    log = load("synthetic", LOG)
    assert content_digest(log) == content_digest(load("synthetic", LOG))
    turned = replace(log, sequences=(log.sequences[0][::-1], *log.sequences[1:]))
    renamed = replace(log, devices=log.devices + 1)
    swapped = replace(log, sequences=(log.sequences[1], log.sequences[0], *log.sequences[2:]))
    assert len({content_digest(one) for one in (log, turned, renamed, swapped)}) == 4
