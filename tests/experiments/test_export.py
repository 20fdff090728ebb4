"""``fedsieve export``: what is written scores as the run does."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save
from typer.testing import CliRunner

from common.errors import ConfigError, RunError, UnknownName
from common.models import MODELS
from experiments import cli, export_onnx
from experiments.export import ABOUT, GRAPH, NAMES, README, WEIGHTS, export
from experiments.trained import open_run
from tests.experiments.trained_run import finished

HISTORIES = ([3, 1, 2], [17], list(range(1, 13)))
"""Usual, of one item, and longer than the model reads."""


@pytest.fixture(scope="module", params=sorted(MODELS))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(
        tmp_path_factory.mktemp("export"), f"model.name={request.param}", "train.rounds=2", "eval.every=0"
    )


def blocks(readme: Path) -> list[str]:
    """The pieces of Python in a README."""
    return re.findall(r"```python\n(.*?)```", readme.read_text(), flags=re.DOTALL)


def by_readme(code: str, history: list[int]) -> np.ndarray:
    """The scores that a reader gets who runs a piece of the README on ``history``."""
    scope: dict[str, object] = {}
    exec(code.replace("[3, 1, 2]", repr(history)), scope)
    return np.asarray(scope["scores"])


def test_the_safetensors_score_as_the_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "exported"
    result = CliRunner().invoke(cli.app, ["export", "--run", str(run), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "recommender.safetensors" in result.output
    monkeypatch.chdir(out)
    for history in HISTORIES:
        expected = open_run(run).scores(np.array(history, dtype=np.int32)).numpy()
        found = by_readme(blocks(out / README)[0], history)
        np.testing.assert_allclose(found[1:], expected[1:], rtol=1e-5, atol=1e-6)


def test_the_tensors_are_the_runs_bit_by_bit_and_as_described(run: Path, tmp_path: Path) -> None:
    export(open_run(run), tmp_path)
    tensors, trained = load_file(tmp_path / WEIGHTS), open_run(run)
    about = json.loads((tmp_path / ABOUT).read_text())
    assert {name: list(t.shape) for name, t in tensors.items()} == about["tensors"]
    assert torch.equal(tensors.pop("item_table"), trained.parameters.table)
    named = {name.removeprefix("encoder."): t for name, t in tensors.items()}
    assert torch.equal(trained.layout.flatten(named), trained.parameters.encoder)
    assert about["settings"] == trained.config.model.model_dump()
    items = json.loads((tmp_path / NAMES).read_text())
    assert [items[i]["id"] for i in (0, 29)] == ["i101", "i130"]
    assert [item["item"] for item in items] == list(range(1, 31))


def test_the_graph_scores_as_the_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(needed)
    export(open_run(run), tmp_path)
    written = export(open_run(run), tmp_path, "onnx")  # beside the other format
    assert written[0] == tmp_path / GRAPH
    monkeypatch.chdir(tmp_path)
    for history in HISTORIES:
        expected = open_run(run).scores(np.array(history, dtype=np.int32)).numpy()
        found = by_readme(blocks(tmp_path / README)[1], history)
        np.testing.assert_allclose(found[1:], expected[1:], rtol=1e-4, atol=1e-5)


def test_without_the_extra_the_graph_names_what_to_install(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"onnx and onnxscript: pip install 'fedsieve\[onnx\]'"):
        export_onnx.graph(open_run(run))


def test_what_is_left_of_another_model_goes(run: Path, tmp_path: Path) -> None:
    trained, out = open_run(run), tmp_path / "out"
    export(trained, out)
    (out / GRAPH).write_text("of the same model")
    (out / f"{WEIGHTS}.{'0' * 16}.tmp").write_text("half")
    export(trained, out)
    assert (out / GRAPH).exists()
    trained.parameters.table[3] += 1
    export(trained, out)
    assert {path.name for path in out.iterdir()} == {WEIGHTS, ABOUT, NAMES, README}


def test_the_weights_are_written_out_once(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = list[int]()

    def counted(tensors: dict[str, torch.Tensor]) -> bytes:
        saved.append(len(tensors))
        return save(tensors)

    monkeypatch.setattr("experiments.export.save", counted)
    export(open_run(run), tmp_path)
    assert len(saved) == 1
    digest = json.loads((tmp_path / ABOUT).read_text())["digest"]
    assert digest == hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()


def test_other_formats_and_folders_are_refused(run: Path, tmp_path: Path) -> None:
    trained = open_run(run)
    with pytest.raises(UnknownName, match="valid: onnx, safetensors"):
        export(trained, tmp_path, "pickle")
    with pytest.raises(ConfigError, match=r"holds .*, which is not of an export"):
        export(trained, run)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match="not a folder"):
        export(trained, file)
    with pytest.raises(RunError, match="Not a directory"):
        export(trained, file / "below")
