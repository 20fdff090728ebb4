"""The benchmark of what updates tell: its guesses on made-up rows, its table, and that decoys help."""

from __future__ import annotations

import json
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import guessing, privacy
from benchmarks.guessing import Guesses, Score
from client.privacy import with_decoys
from common.errors import ConfigError
from common.settings import load
from experiments.pool import Job, Notes
from tests.client.test_privacy import honest, keys, strong
from tests.server.federation import BASE


def test_a_guess_is_scored_by_what_is_held() -> None:
    score = Score()
    assert score.told() == {"precision": None, "recall": 0.0, "base": 0.0}
    score.add(torch.tensor([[True, True, False, False]]), torch.tensor([[True, False, True, False]]))
    score.add(torch.tensor([[True, False, False, False]]), torch.tensor([[True, False, False, False]]))
    assert score.told() == {"precision": 2 / 3, "recall": 2 / 3, "base": 3 / 8}


def test_plain_updates_name_their_next_items_and_decoys_hide_among_them() -> None:
    """Twelve next items beside thirty-six decoys: one guess in four is right, in one round or in many."""
    updates = honest(pulled=12)
    hidden = with_decoys(updates, 36, keys(6), keys(6, 9))
    truth = torch.zeros(6, int(updates.items.max()) + 1, dtype=torch.bool)
    truth[:, updates.items.long()] = strong(updates)
    ranked: list[Any] = []
    for sent, least, most in ((updates, 0.99, 1.0), (hidden, 0.15, 0.35)):
        guesses = Guesses(truth)
        for _ in range(3):
            guesses.round(sent, torch.arange(6))
        told = guesses.told()
        for name in ("alone", "marks", "union"):
            precision = told[name]["precision"]
            assert precision is not None
            assert least <= precision <= most, name
        ranked.append(told["ranked"]["precision"])
    assert ranked[0] == 1.0
    assert ranked[1] < 0.6


SMALL = [*BASE, "train.rounds=5", "eval.every=0", "eval.targets=[]", "attack.targets=[3]", "model.dim=16"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the runs, and the page that was written."""
    folder = tmp_path_factory.mktemp("privacy")
    (folder / "none.yaml").write_text("{}")
    page = folder / "page.md"
    page.write_text(f"before\n{privacy.BEGIN}old\n{privacy.END}after\n")
    arguments = ["--config", str(folder / "none.yaml"), "--rounds", "5", "--devices", "24", "--seeds", "0"]
    arguments += ["--settings", "none", "decoys=6", "clip=0.5,noise=2"]
    arguments += ["--set", *SMALL, "data.path='devices=40,items=60,length=8'", "train.slice_size=50"]
    privacy.main([*arguments, "--out", str(folder / "out"), "--write"], page)
    return folder / "out", page.read_text()


def summary(out: Path, cell: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / f"{cell}-seed0" / "summary.json").read_text())
    return found


def test_decoys_lower_the_precision_of_every_guess_in_a_run(measured: tuple[Path, str]) -> None:
    plain, hidden = (
        json.loads((measured[0] / f"{setting}-mean-none-seed0" / guessing.FILE).read_text())
        for setting in ("none", "decoys=6")
    )
    for name in ("alone", "marks", "union"):
        assert plain[name]["precision"] > 0.95
        assert hidden[name]["precision"] < 0.7 * plain[name]["precision"]
    assert hidden["ranked"]["precision"] < 0.9 * plain["ranked"]["precision"]


def test_the_table_is_what_the_runs_say(measured: tuple[Path, str]) -> None:
    out, page = measured
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "old" not in page
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert [row[0] for row in rows] == ["`none`", "`decoys=6`", "`clip=0.5,noise=2`"] * 2
    price = rows[5]
    clean = summary(out, "clip=0.5+noise=2-mean-none")
    mean, sieve = (summary(out, f"clip=0.5+noise=2-{rule}-label_to_target") for rule in ("mean", "sieve"))
    assert price[1] == f"{clean['privacy']['epsilon']:,.0f}"
    assert price[2:4] == [f"{clean['test'][name]:.4f}" for name in ("hr@10", "ndcg@10")]
    assert price[4:6] == [f"{mean['test']['ndcg@10']:.4f}", f"{100 * mean['er@10']:.1f} %"]
    assert price[6:] == [f"{sieve['test']['ndcg@10']:.4f}", f"{100 * sieve['er@10']:.1f} %"]
    assert rows[3][1] == "–"  # no noise, no ε


def test_a_run_that_was_interrupted_guesses_from_all_of_its_rounds(tmp_path: Path) -> None:
    """Also where it ended between its last checkpoint and its summary."""
    config = privacy.variant(load(overrides=SMALL), "none", "mean", "none", 0)
    job = Job("one", "one", config, tmp_path / "one")
    here, there = Pipe()
    privacy.watched(job, Notes(there))
    whole = (job.folder / guessing.FILE).read_text()
    (job.folder / "summary.json").unlink()
    privacy.watched(job, Notes(there))
    here.close()
    assert (job.folder / guessing.FILE).read_text() == whole
    assert json.loads(whole)["alone"]["recall"] > 0


def test_a_wrong_setting_and_a_page_without_marks_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"client\.decoi"):
        privacy.variant(load(None), "decoi=3", "mean", "none", 0)
    with pytest.raises(ValueError, match="tables: begin"):
        privacy.renewed("no marks", "")
