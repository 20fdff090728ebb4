"""Beyond accuracy: each number by hand, the same ranks as the run has, and where they are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from common.data import content_digest, load
from experiments.beside import add_beside, log_of
from experiments.beyond import Judged, bootstrap, by_item, item_groups, lists, of_lists
from experiments.compare.results import users
from experiments.engines import emulate
from experiments.run_files import printed
from experiments.run_tables import beyond_table, interval_text, item_table, more_cuts_table
from experiments.trained import open_run
from tests.experiments.trained_run import finished
from tests.server.federation import config


def test_lists_by_hand() -> None:
    shown, counts = np.array([0, 2, 2, 0, 0]), np.array([0, 4, 2, 1, 0])
    found = of_lists(shown, counts)
    assert found["coverage@10"] == 0.5
    assert found["gini@10"] == pytest.approx(0.5)  # Σ (2r − 5) x_r = 1 · 2 + 3 · 2, over 4 · 4
    assert found["popularity@10"] == 3.0
    assert found["novelty@10"] == pytest.approx((-np.log2(4 / 7) - np.log2(2 / 7)) / 2)


@pytest.mark.parametrize(("shown", "gini"), [([5, 5, 5, 5], 0.0), ([0, 0, 0, 7], 0.75), ([0, 0, 0, 0], 0.0)])
def test_gini_at_its_ends(shown: list[int], gini: float) -> None:
    assert of_lists(np.array([0, *shown]), np.ones(5, dtype=np.int64))["gini@10"] == pytest.approx(gini)


def test_groups_of_items() -> None:
    counts = np.array([0, 1, 50, 0, 10, 20, 10, 9])
    assert item_groups(counts).tolist()[1:] == [2, 0, 3, 1, 1, 2, 2]
    found = by_item(np.array([0, 9, 10, 3]), np.array([2, 2, 5, 3]), counts)
    assert found["head"] == {
        "hr@10": 1.0,
        "ndcg@10": pytest.approx((1 + 1 / np.log2(11)) / 2),
        "devices": 2,
        "items": 1,
    }
    assert (found["middle"]["hr@10"], found["middle"]["items"]) == (0.0, 2)
    assert found["tail"] == {"devices": 0, "items": 3}
    assert found["cold"]["hr@10"] == 1.0


def test_bootstrap_agrees_with_theory_and_its_seed() -> None:
    hits = (np.arange(400) < 100).astype(np.float64)
    found = bootstrap({"hr@10": hits, "same": np.full(400, 0.3)}, 4000, 1)
    assert found == bootstrap({"hr@10": hits, "same": np.full(400, 0.3)}, 4000, 1)
    assert found != bootstrap({"hr@10": hits, "same": np.full(400, 0.3)}, 4000, 2)
    half = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert found["hr@10"] == pytest.approx([0.25 - half, 0.25 + half], abs=0.004)
    assert found["same"] == pytest.approx([0.3, 0.3])


def test_bootstrap_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    hits = {"hr@10": (np.arange(50) < 20).astype(np.float64)}
    whole = bootstrap(hits, 100, 3)
    monkeypatch.setattr("experiments.beyond.DRAWS", 120)
    assert bootstrap(hits, 100, 3) == whole


def test_a_run_tells_them(tmp_path: Path) -> None:
    folder = finished(tmp_path, "train.rounds=1", "eval.cuts=[1, 30]", "eval.bootstrap=200")
    run = open_run(folder)
    add_beside(folder, run.config)
    summary = json.loads((folder / "summary.json").read_text())
    groups = summary["item_groups"].values()
    n = sum(one["devices"] for one in groups)
    assert n == summary["beyond"]["devices"] == summary["evaluated_devices"]
    assert sum(one.get("hr@10", 0) * one["devices"] for one in groups) / n == pytest.approx(
        summary["test"]["hr@10"]
    )
    low, high = summary["intervals"]["ndcg@10"]
    assert low <= summary["test"]["ndcg@10"] <= high
    assert low < high
    log = log_of(run.config)
    assert log is not None
    over = users(folder, run.config, log)
    assert over["users.ndcg@10"] == pytest.approx((high - low) / 2)
    without = run.config.eval.model_copy(update={"bootstrap": 0})
    assert users(folder, run.config.model_copy(update={"eval": without}), log) == {}
    assert summary["more_cuts"]["hr@30"] == 1.0
    assert summary["more_cuts"]["hr@1"] == summary["more_cuts"]["ndcg@1"] <= summary["test"]["hr@5"]
    console = Console(width=160, record=True)
    console.print(printed(summary))
    text = console.export_text()
    for told in ("95% over users: HR@10 ", "of the catalogue", "novelty", "test NDCG@10 by item: ", "HR@30"):
        assert told in text
    assert "bootstrap interval over 40 users (200 resamples)" in interval_text(summary)
    assert beyond_table(summary) is not None
    assert item_table(summary) is not None
    assert more_cuts_table(summary) is not None
    assert interval_text({}) == ""


def test_another_log_in_the_place_of_the_runs_own_changes_nothing_that_it_wrote(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log.csv"

    def write(step: int) -> None:
        rows = [f"{u},{(u * step + i) % 30},{i}\n" for u in range(20) for i in range(8)]
        log.write_text("user,item,time\n" + "".join(rows))

    write(3)
    out = tmp_path / "run"
    emulate(config("data.name=log", f"data.path={log}", "train.rounds=1"), out)
    before = json.loads((out / "summary.json").read_text())
    assert before["data_digest"] == content_digest(load("", str(log)))
    fewer = config("data.name=log", f"data.path={log}", "data.max_devices=9")
    known = log_of(fewer, before["data_digest"])  # as of a server, which has the whole log
    assert known is not None
    assert len(known) == 9
    write(7)
    assert log_of(open_run(out).config, before["data_digest"]) is None
    add_beside(out, open_run(out).config)
    assert json.loads((out / "summary.json").read_text()) == before
    assert f"{log} holds another log than this run had" in caplog.text


def test_lists_hold_nothing_that_was_seen_and_the_best_of_the_rest(tmp_path: Path) -> None:
    folder = finished(tmp_path, "train.rounds=1")
    run = open_run(folder)
    log = log_of(run.config)
    assert log is not None
    judged = Judged.of(log, range(len(log)))
    found = np.concatenate(list(lists(run, judged)))
    for history, own in zip(judged.histories, found, strict=True):
        scores = run.scores(history)
        scores[0] = -np.inf
        scores[history.astype(np.int64)] = -np.inf
        assert not set(own.tolist()) & {0, *history.tolist()}
        assert scores[own].tolist() == pytest.approx(scores.sort(descending=True).values[:10].tolist())
