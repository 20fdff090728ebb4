"""The table of models on logs: what is kept, and how a row comes about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import models
from benchmarks.model_tables import COLUMNS, kept, model_table
from experiments.centralised import Recipe
from experiments.report.tables import Value, number

SMALL = (
    *("train.rounds=2", "train.devices_per_round=16", "eval.every=0", "eval.bootstrap=20"),
    *("model.dim=8", "model.blocks=1", "model.max_len=10"),
)


def cells(folder: Path) -> dict[tuple[Value, ...], dict[str, Value]]:
    titles = [column.title for column in COLUMNS]
    rows = [dict(zip(titles, row, strict=True)) for row in model_table(folder, "models").rows]
    return {(row["Log"], row["Model"], row["Trained"]): row for row in rows}


def one(how: str, seed: int, gain: float) -> dict[str, object]:
    axes = {"log": "amazon-beauty", "model": "sasrec", "how": how, "seed": seed}
    figures = {f"{part}.{name}": gain for part in ("valid", "test") for name in ("hr@10", "ndcg@10")}
    return {**axes, "passes": 10.0, **figures, "users": 0.002, "seconds": 1.0, "protocol": "p"}


def test_a_federated_model_stands_beside_its_reference_and_the_published_number(tmp_path: Path) -> None:
    models.keep([one("federated", seed, 0.040 + 0.001 * seed) for seed in range(3)], tmp_path)
    models.keep([one("centralised", seed, 0.050) for seed in (1, 2)], tmp_path)
    found = cells(tmp_path)
    federated = found["amazon-beauty", "sasrec", "federated"]
    assert federated["Seeds"] == 3
    assert number(federated["NDCG@10"]) == pytest.approx(0.041)
    assert number(federated["Of its centralised"]) == pytest.approx(0.83)  # seed by seed: of 1 and 2
    assert number(federated["Of the published"]) == pytest.approx(0.041 / 0.0531, abs=1e-3)
    assert found["amazon-beauty", "sasrec", "centralised"]["Of its centralised"] is None


def test_a_run_that_is_kept_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    models.keep([one("federated", 0, 0.03), one("federated", 1, 0.05)], tmp_path)
    models.keep([one("federated", 0, 0.04)], tmp_path)
    assert [(row["seed"], row["test.ndcg@10"]) for row in kept(tmp_path)] == [(0, 0.04), (1, 0.05)]


def test_another_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="valid: models"):
        model_table(tmp_path, "nothing")


def test_runs_are_made_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.txt"
    log.write_text("\n".join(f"{u} " + " ".join(str((u + 3 * t) % 40) for t in range(12)) for u in range(40)))
    monkeypatch.setattr(models, "DATA", tmp_path / "data")
    recipe = Recipe(epochs=2, batch=16)
    monkeypatch.setitem(models.RECIPES, "ml-100k", recipe)
    command = ["--logs", "ml-100k", "--models", "sasrec", "--how", "federated", "centralised"]
    command += ["--out", str(tmp_path / "runs"), "--workers", "1"]
    for setting in (*SMALL, f"data.path={log}", "train.slice_size=20"):
        command += ["--set", setting]
    models.main(command)
    first = capsys.readouterr().out
    told = [line for line in first.splitlines() if ": valid NDCG@10" in line and "; test " in line]
    assert [line.partition(":")[0] for line in told] == [
        "ml-100k-sasrec-federated-seed0",
        "ml-100k-sasrec-centralised-seed0",
    ]
    models.main([*command, "--keep"])
    again = capsys.readouterr().out.splitlines()
    assert again == told  # nothing is trained anew
    rows = kept(tmp_path / "data")
    assert [row["how"] for row in rows if row["model"] == "sasrec"] == ["centralised", "federated"]
    assert {row["model"] for row in rows if row["how"] == "floor"} == {"popularity", "markov"}
    assert next(row for row in rows if row["how"] == "federated")["passes"] == 2 * 16 / 40
    config = json.loads((tmp_path / "runs" / "ml-100k-sasrec-centralised-seed0" / "summary.json").read_text())
    assert config["centralised"] is True
    runs = models.runs_of(["ml-100k"], ["sasrec"], ["federated"], [0], [])
    assert runs[0].config.strategy.aggregator.name == "mean"
