"""A model that reads when interactions were gets it: in recommend, from Python, and in an export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from client.ranking import answer_ranks
from common.data import load
from common.errors import ConfigError
from experiments import cli
from experiments.export import README, export
from experiments.recommend import best, history_of, seconds_of, timed
from experiments.trained import catalogue, open_run
from tests.experiments.test_export import blocks
from tests.experiments.trained_run import finished

HISTORY, SECONDS = np.array([3, 1, 2], dtype=np.int32), np.array([0.0, 60.0, 3600.0])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HSTU with times, whose biases by time are no zeros: a short run hardly moves them."""
    chosen = ("model.name=hstu", "model.times=true", "train.rounds=1", "eval.every=0")
    folder = finished(tmp_path_factory.mktemp("timed"), *chosen)
    path = folder / "model.safetensors"
    trained = open_run(folder)
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        meta = file.metadata()
    tensors = load_file(path)
    tensors["encoder"] = tensors["encoder"] + 0.5 * np.float32(1) * (tensors["encoder"] == 0)
    save_file(tensors, path, metadata=meta)
    assert trained.timed
    return folder


def test_times_change_the_scores(run: Path) -> None:
    trained = open_run(run)
    plain, when = trained.scores(HISTORY), trained.scores(HISTORY, SECONDS)
    assert not np.allclose(plain[1:], when[1:], atol=1e-4)


def test_a_user_is_recommended_as_the_evaluation_ranks(run: Path) -> None:
    trained = open_run(run)
    known = catalogue(trained)
    items, seconds = history_of("u7", known), seconds_of("u7", known)
    assert seconds is not None
    assert len(seconds) == len(items)
    hits = best(trained, known, items, 30, seconds=seconds)
    times = load("", trained.config.data.path).times
    assert times is not None
    row = [*known.log.user_ids].index("u7") if known.log else 0
    ranks = answer_ranks(
        trained.encoder(), trained.parameters, [items], [hits[4].item], 8, times[row : row + 1]
    )
    assert int(ranks[0, 0]) == 4


def test_times_are_asked_for_and_checked(run: Path) -> None:
    trained = open_run(run)
    known = catalogue(trained)
    with pytest.raises(ConfigError, match="--times: hstu reads when each interaction was; give the seconds"):
        timed(None, trained, known, HISTORY)
    for wrong in (["1", "2"], ["1", "3", "2"], ["1", "2", "x"], ["1", "2", "nan"]):
        with pytest.raises(ConfigError, match="--times: expected 3 seconds, none before the last"):
            timed(wrong, trained, known, HISTORY)
    given = timed(["0", "60", "3600"], trained, known, HISTORY)
    assert given is not None
    assert given.tolist() == SECONDS.tolist()


def test_the_command(run: Path) -> None:
    words = ["recommend", "--run", str(run), "--history", "i103,i101,i102"]
    result = CliRunner().invoke(cli.app, words)
    assert isinstance(result.exception, ConfigError)
    assert CliRunner().invoke(cli.app, [*words, "--times", "0,60,3600"]).exit_code == 0
    assert CliRunner().invoke(cli.app, ["recommend", "--run", str(run), "--user", "u7"]).exit_code == 0


def test_the_readme_of_an_export_gives_times(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(open_run(run), tmp_path)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(blocks(tmp_path / README)[0], scope)
    expected = open_run(run).scores(HISTORY, SECONDS).numpy()
    np.testing.assert_allclose(np.asarray(scope["scores"])[1:], expected[1:], rtol=1e-4, atol=1e-5)


def test_a_graph_takes_times(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(needed)
    export(open_run(run), tmp_path, "onnx")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    exec(blocks(tmp_path / README)[1], scope)
    expected = open_run(run).scores(HISTORY, SECONDS).numpy()
    np.testing.assert_allclose(np.asarray(scope["scores"])[1:], expected[1:], rtol=1e-4, atol=1e-5)
