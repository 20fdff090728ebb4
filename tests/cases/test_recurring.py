"""Cases 02 and 04: one rule for all answers, no figure by construction, a log for nobody."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from client.ranking import answer_ranks, evaluate
from common.config import ModelConfig
from common.data.cut import recurs
from common.data.ragged import Ragged
from common.errors import DataError
from common.models import build_model, layout_of
from common.settings import load
from common.tasks import METRICS, GlobalModel
from emulation.federation import federate, open_log
from experiments.cli import call
from experiments.floors import floors
from experiments.run_files import ranked, read_summary
from fedsieve import load_result

SMALL = [
    *("train.rounds=1", "train.devices_per_round=8", "train.slice_size=16", "model.dim=8", "model.max_len=8"),
    *("model.blocks=1", "eval.every=0", "device=cpu"),
]


def written(folder: Path, histories: dict[str, list[int]]) -> Path:
    lines = [f"{user},{item},{n}" for user, items in histories.items() for n, item in enumerate(items)]
    (folder / "log.csv").write_text("\n".join(["user,item,time", *lines]))
    return folder / "log.csv"


def all_seen(users: int = 12, items: int = 40) -> dict[str, list[int]]:
    """Everyone saw everything; the last interaction is one of them again."""
    rng = np.random.default_rng(0)
    orders = {f"u{n}": (rng.permutation(items) + 1).tolist() for n in range(users)}
    return {user: [*order, int(rng.choice(order))] for user, order in orders.items()}


def test_who_saw_everything_is_no_hit_by_construction(tmp_path: Path) -> None:
    path = written(tmp_path, all_seen())
    summary = federate(load(None, [f"data.path={path}", *SMALL]), tmp_path / "run")
    test = summary["test"]
    assert test["hr@10"] == test["hr@10_unfiltered"] < 0.9
    assert summary["recurring"] == {"valid": 0.0, "test": 1.0}
    assert "100.0% of the test answers recur" in summary["protocol"]
    for split in ("valid", "test"):
        (first, lead), (second, _) = ranked(summary, split)
        assert (first, second) == (f"{split}, unfiltered", f"{split}, filtered")
        assert lead["hr@10"] == summary[split]["hr@10_unfiltered"]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["recurring"]["test"] == 1.0


def test_every_figure_of_such_a_log_says_how_it_was_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, intervals, progress, the page and the object."""
    monkeypatch.setenv("COLUMNS", "200")
    path, out = written(tmp_path, all_seen()), tmp_path / "run"
    given = [f"--set={one}" for one in (f"data.path={path}", *SMALL, "eval.cuts=[30]", "eval.every=1")]
    assert call(["run", *given, f"--out={out}"]) == 0
    said, summary = capsys.readouterr().out, read_summary(out)
    assert summary["floors_unfiltered"] == floors(open_log(load(out / "config.yaml")), filtered=False)
    rows = ["valid, unfiltered", "valid, filtered", "test, unfiltered", "test, filtered"]
    rows += [f"{name}, {how}" for how in ("unfiltered", "filtered") for name in ("Popularity", "Markov-1")]
    heads = [line.split("│")[1].strip() for line in said.splitlines() if line.startswith("│")]
    assert heads == rows
    assert "round 1 of 1, test unfiltered HR@10 " in said
    for told in ("95% over users: ", "NDCG@10 by item: ", "HR@30 "):
        (line,) = [line for line in said.splitlines() if told in line]
        assert line.startswith("test, filtered"), line
    assert (
        "100.0% of the test answers recur, and those are ranked among all items; unfiltered: "
        in summary["protocol"]
    )
    found = load_result(out)
    assert "\n  test, filtered  HR@10 " in repr(found)
    assert [one.text for one in found.plot().layout.annotations] == ["NDCG@10, filtered"]
    page = found.report.read_text()
    for cell in ("test q1, filtered", "Markov-1, unfiltered", "HR@10, filtered", "HR, filtered"):
        assert f">{cell}<" in page
    assert "of the test, filtered, this one model given" in page


def test_a_centralised_run_knows_such_a_log_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, all_seen())
    given = [f"--set={one}" for one in (f"data.path={path}", *SMALL[2:])]
    assert call(["run", "--centralised", "--epochs=1", *given, f"--out={tmp_path / 'run'}"]) == 0
    assert "test unfiltered HR@10 " in capsys.readouterr().out


def test_a_log_without_recurring_answers_is_told_as_ever() -> None:
    summary = {"test": {"hr@10": 0.5, "hr@10_unfiltered": 0.4}}
    assert ranked(summary, "test") == [("test", summary["test"])]
    assert ranked(summary, "valid") == []


def model(items: int) -> tuple[torch.nn.Module, GlobalModel, ModelConfig]:
    config = ModelConfig(dim=8, max_len=8, blocks=1)
    torch.manual_seed(1)
    encoder = build_model(config).eval()
    table = torch.randn(items + 1, 8)
    return encoder, GlobalModel(layout_of(encoder).flatten(encoder.state_dict()), table), config


@pytest.mark.parametrize("seed", range(5))
def test_one_rule_for_all_answers(seed: int) -> None:
    """An answer in the history ranks among all items; any other among those not in it."""
    rng, items = np.random.default_rng(seed), 30
    encoder, parameters, config = model(items)
    histories = [rng.integers(1, items + 1, int(rng.integers(1, 20))).astype(np.int32) for _ in range(40)]
    answers = rng.integers(1, items + 1, 40)
    again = np.array([answer in history for answer, history in zip(answers, histories, strict=True)])
    assert 0 < again.sum() < 40
    assert (recurs(Ragged.of(histories, np.int32), answers) == again).all()
    with torch.no_grad():
        filtered, plain = answer_ranks(encoder, parameters, histories, answers, config.max_len).numpy()
        sums = evaluate(encoder, parameters, histories, answers, (), (4, 8, 12), config.max_len)
    assert (filtered[again] == plain[again]).all()
    for rank, unfiltered, history in zip(
        filtered[~again], plain[~again], np.array(histories, object)[~again], strict=True
    ):
        assert unfiltered - len(set(history)) <= rank <= unfiltered
    assert (filtered[~again] < plain[~again]).any()
    assert sums.metrics[0, METRICS.index("hr@10")] == (filtered < 10).sum()


@pytest.mark.parametrize("part", ["valid", "test"])
def test_the_floors_go_by_the_same_rule(tmp_path: Path, part: str) -> None:
    log = open_log(load(None, [f"data.path={written(tmp_path, all_seen())}"]))
    for found, plain in zip(
        floors(log, part).values(), floors(log, part, filtered=False).values(), strict=True
    ):  # type: ignore[arg-type]
        assert (found == plain) == (part == "test")


@pytest.mark.parametrize(
    ("histories", "settings", "words"),
    [
        ({"a": [1, 2], "b": [3, 4]}, [], "the longest history has 2"),
        ({"a": [1], "b": [3]}, [], "the longest history has 1"),
        ({"a": [1, 2, 3, 4]}, ["data.max_length=2"], "the longest history of data.max_length=2 has 2"),
        ({"a": [1, 2], "b": [1, 2, 3]}, ["data.max_devices=1"], "the longest history has 2"),
        ({"a": [1, 1, 1, 2]}, ["data.repeats=drop"], "the longest history has 2"),
    ],
)
def test_a_log_on_which_nobody_can_be_evaluated_is_refused(
    tmp_path: Path, histories: dict[str, list[int]], settings: list[str], words: str
) -> None:
    path = written(tmp_path, histories)
    with pytest.raises(DataError, match=r"no device can be evaluated: that takes 3 interactions") as caught:
        federate(load(None, [f"data.path={path}", *settings, *SMALL]), tmp_path / "run")
    assert words in str(caught.value)
    assert not (tmp_path / "run").exists()
