"""Early stopping: it ends in time, keeps the best model, says so, and can be interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from common.errors import ConfigError
from common.tasks import GlobalModel
from server.evaluation import early_stopping
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState, no_counts
from tests.server.federation import Watch, config, lines, run, same_model
from tests.server.interruption import equal_runs, in_round

PATIENT = ("train.rounds=9", "train.patience=2", "eval.every=1", "strategy.lr=0.3", "checkpoint_every=2")


def state(round_: int) -> ServerState:
    model = GlobalModel(torch.full((2,), float(round_)), torch.full((3, 2), float(round_)))
    return ServerState(round_, model, {}, {}, {}, no_counts(2), no_counts(2), b"")


def test_the_best_is_kept_and_patience_counts_from_it() -> None:
    best: ServerState = state(0)
    for round_, value in enumerate((0.2, 0.3, 0.3, 0.1), start=1):
        assert not early_stopping.over(best.best, 2)
        now = state(round_)
        best = early_stopping.noted(ServerState(**{**vars(now), "best": best.best}), round_, value)
    assert early_stopping.over(best.best, 2)
    assert not early_stopping.over(best.best, 3)
    assert not early_stopping.over(best.best, 0)
    kept = early_stopping.kept(best)
    assert kept.round == 2
    assert kept.model.encoder.tolist() == [2.0, 2.0]
    assert early_stopping.facts(best.best, 4, 2) == {"best_round": 2, "rounds": 4, "patience": 2}
    again = ServerState.from_tensors(4, {**best.tensors(), "secret": torch.zeros(0)})
    assert early_stopping.kept(again).model.table.tolist() == kept.model.table.tolist()
    assert early_stopping.facts({}, 4, 0) == {}


class Models:
    """A listener that keeps the model after each round."""

    def __init__(self) -> None:
        self.models: dict[int, GlobalModel] = {}

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        encoder, table = state.model.encoder.clone(), state.model.table.clone()
        self.models[report.round] = GlobalModel(encoder, table)

    def on_evaluation(self, evaluation: Evaluation) -> None: ...


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("patient") / "run"
    run(config(*PATIENT), out)
    return out


def test_a_run_ends_with_its_best_model(whole: Path, tmp_path: Path) -> None:
    told = lines(whole, "metrics")
    valid = [line["ndcg@10"] for line in told if line.get("split") == "valid"]
    rounds = sum("split" not in line for line in told)
    best = 1 + max(range(rounds), key=lambda k: (valid[k], -k))
    assert rounds == min(9, best + 2)
    assert rounds < 9, "the rate is so high that the model gets worse"
    seen = Models()
    found = run(config(*PATIENT), tmp_path / "again", listeners=[seen])
    assert same_model(whole, tmp_path / "again")
    kept = load_file(whole / "model.safetensors")
    assert torch.equal(kept["encoder"], seen.models[best].encoder)
    assert torch.equal(kept["item_table"], seen.models[best].table)
    assert not torch.equal(kept["encoder"], seen.models[rounds].encoder)
    assert (found["best_round"], found["rounds"], found["patience"]) == (best, rounds, 2)
    assert found["valid"]["ndcg@10"] == max(valid)
    assert f"the model kept is that of round {best} of {rounds}, best NDCG@10" in found["protocol"]


@pytest.mark.parametrize("round_", [2, 3])
def test_an_interruption_changes_nothing(whole: Path, tmp_path: Path, round_: int) -> None:
    with pytest.raises(InterruptedError):
        run(config(*PATIENT), tmp_path, listeners=[Watch(in_round(round_))])
    run(config(*PATIENT), tmp_path, resume=True)
    equal_runs(whole, tmp_path)


def test_a_run_that_stopped_early_is_saved_and_goes_on_to_the_same_end(tmp_path: Path) -> None:
    """Without ``checkpoint_every`` nothing but its end saves it."""
    settings = config(*PATIENT, "checkpoint_every=0")
    first = run(settings, tmp_path / "run")
    assert (tmp_path / "run" / "state").exists()
    kept = load_file(tmp_path / "run" / "model.safetensors")
    again = run(settings, tmp_path / "run", resume=True)
    assert again["rounds"] == first["rounds"] < 9
    assert again["test"] == first["test"]
    assert torch.equal(load_file(tmp_path / "run" / "model.safetensors")["encoder"], kept["encoder"])


def test_nothing_to_watch_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"eval: every is 0, and train\.patience=2 counts evaluations"):
        config("train.patience=2", "eval.every=0")
