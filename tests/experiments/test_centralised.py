"""The centralised reference: the step of a federation of everybody, and a run with its files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from common.errors import ConfigError, RunError
from common.settings import load
from emulation.federation import federate, prepared
from experiments.centralised import Recipe, centralise, epochs_of, start
from experiments.cli import app
from experiments.results_cli import report_run
from experiments.run_files import printed
from experiments.run_report import write_report
from experiments.trained import open_run
from tests.experiments.compare.samples import screen
from tests.server.federation import Watch

SMALL = (
    "data.name=synthetic",
    "data.path='devices=60,items=40,interactions=600'",
    "model.dim=8",
    "model.max_len=12",
    "model.blocks=1",
    "train.negatives=full",
    "device=cpu",
)
RECIPE = Recipe(epochs=12, patience=3, batch=16, rate=0.01)


@pytest.mark.parametrize(
    "changes",
    [
        ["model=sasrec"],
        ["model=esasrec", "train.label_smoothing=0.1"],
        ["model=bert4rec"],
        ["model=hstu", "model.dropout=0.3", "train.loss=gbce"],
        ["model=lrurec", "train.targets=last"],
        ["model.code_books=2", "model.code_rows=11"],
    ],
    ids=lambda changes: changes[0].partition("=")[2],
)
def test_one_federated_step_of_all_devices_is_one_centralised_step_of_all_users(
    changes: list[str], tmp_path: Path
) -> None:
    """θ − η·∇ 1/n Σ_u loss_u: by the mean of all updates, and by the gradient of the mean loss."""
    federation = (
        *("train.rounds=1", "train.devices_per_round=60", "train.local_lr=0.5", "wire.dtype=float32"),
        *("strategy.aggregator=mean", "strategy.constraints=[]", "strategy.optimizer=sgd"),
        *("strategy.lr=1", "strategy.warmup_rounds=0", "strategy.decay_from=1"),
        *("eval.every=0", "model.dropout=0", "client.clip=0", "train.window=last"),
    )
    config = load(overrides=[*SMALL, *federation, *changes])
    watch = Watch()
    federate(config, tmp_path / "run", listeners=[watch])
    found = load_file(tmp_path / "run" / "model.safetensors")
    dataset, config = prepared(config)
    program = start(config, dataset)
    users = (program.histories.lengths > 1).nonzero()[0]
    assert watch.rounds[0].figures["admitted"] == len(users)
    program.descend(users, epoch=1, step=0)
    for name, leaf in zip(("encoder", "item_table"), program.leaves, strict=True):
        assert leaf.grad is not None
        assert float((0.5 * leaf.grad).abs().max()) > 1e-3
        torch.testing.assert_close(
            found[name], leaf.detach() - 0.5 * leaf.grad, rtol=0, atol=1e-5, msg=f"{name} differs"
        )


@pytest.mark.parametrize("negatives", ["full", "slice", "device"])
def test_it_learns_and_keeps_its_best_model(negatives: str, tmp_path: Path) -> None:
    config = load(overrides=[*SMALL, f"train.negatives={negatives}", "train.slice_size=20"])
    watch = Watch()
    summary = centralise(config, tmp_path / "run", RECIPE, [watch])
    folder = tmp_path / "run"
    assert summary == json.loads((folder / "summary.json").read_text())
    assert (summary["centralised"], summary["aggregator"]) == (True, "centralised")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "split" not in line]
    assert losses[-1] < 0.95 * losses[0]
    valid = [line["ndcg@10"] for line in lines if line.get("split") == "valid"]
    *epochs, kept = valid
    assert kept == max(epochs) == summary["valid"]["ndcg@10"]
    assert summary["best_epoch"] == 1 + epochs.index(max(epochs))
    assert summary["rounds"] == len(epochs) == min(RECIPE.epochs, summary["best_epoch"] + RECIPE.patience)
    assert [e.split for e in watch.evaluations[-2:]] == ["valid", "test"]
    model = open_run(folder).parameters
    program = start(*reversed(prepared(config)))
    assert program.evaluated(model, "test", 0).groups["all"] == summary["test"]


def test_it_writes_a_report_and_says_what_it_is(tmp_path: Path) -> None:
    config = load(overrides=[*SMALL, "train.loss=sampled_softmax", "eval.targets=[3]"])
    summary = centralise(config, tmp_path / "run", Recipe(epochs=2, batch=32))
    assert "centralised: epoch " in summary["protocol"]
    assert "32 users a step, all items, sampled_softmax loss, Adam 0.001" in summary["protocol"]
    assert 0 <= summary["er@10"] <= 1
    assert "centralised" in write_report(tmp_path / "run").read_text()
    with pytest.raises(RunError, match="holds a centralised run; choose another folder"):
        centralise(config, tmp_path / "run", Recipe(epochs=1))


def test_one_that_failed_before_its_first_epoch_does_not_block_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RunError("not finite")

    config = load(overrides=list(SMALL))
    with monkeypatch.context() as patch:
        patch.setattr("experiments.centralised.run.epochs_of", fail)
        with pytest.raises(RunError, match="not finite"):
            centralise(config, tmp_path / "run", RECIPE)
    assert (tmp_path / "run" / "recipe.json").exists()
    federate(config, tmp_path / "run")
    assert not (tmp_path / "run" / "recipe.json").exists()


def test_one_that_was_stopped_is_no_federation_to_go_on_with(tmp_path: Path) -> None:
    def stop(told: object) -> bool:
        raise KeyboardInterrupt

    config = load(overrides=list(SMALL))
    with pytest.raises(KeyboardInterrupt):
        centralise(config, tmp_path / "run", RECIPE, [Watch(stop)])
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["patience"] == 3
    for again in (
        lambda: federate(config, tmp_path / "run", resume=True),
        lambda: centralise(config, tmp_path / "run"),
    ):
        with pytest.raises(RunError, match=r"holds a centralised run; choose another folder"):
            again()
    with pytest.raises(RunError, match="such a run begins anew"):
        report_run(tmp_path / "run")


def test_a_part_in_which_nobody_can_be_ranked_is_said(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("user,item,time\n" + "".join(f"{u},{i},{i}\n" for u in range(9) for i in range(6)))
    cut = (f"data.path={log}", "eval.split=time", "eval.times=[4.2,4.8]")
    with pytest.raises(RunError, match="nobody has an interaction to rank in the valid part; see eval.split"):
        centralise(load(overrides=[*SMALL[2:], "data.name=log", *cut]), tmp_path / "run", RECIPE)


def test_exposure_within_a_group_is_measured(tmp_path: Path) -> None:
    config = load(overrides=[*SMALL, "eval.targets=[3]", "eval.group=5"])
    summary = centralise(config, tmp_path / "run", Recipe(epochs=1, batch=32))
    assert 0 <= summary["er_group@10"] <= 1
    console, told = screen()
    console.print(printed(summary))
    assert "holders of 5" in told.getvalue()


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    config = load(overrides=SMALL)
    for name in "ab":
        centralise(config, tmp_path / name, Recipe(epochs=2, batch=32))
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["attack=sign_flip"], "attack.name: 'sign_flip'; with --centralised there is nobody to attack"),
        (["train.negatives=slice", "train.slice_size=auto"], "train.slice_size: auto is for a federation"),
        (["train.patience=3", "eval.every=1"], "train.patience: given 3, .* --centralised has --patience"),
        (["train.local_steps=4"], "train.local_steps: given 4; with --centralised only 1"),
        (["client.clip=1"], "client.clip: given 1.0; with --centralised only 0.0"),
        (["client.decoys=4"], "client.decoys: given 4; with --centralised only 0"),
        (["client.quantise=sign"], "client.quantise: given sign; with --centralised only none"),
    ],
)
def test_what_only_a_federation_has_is_refused(changes: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        centralise(load(overrides=[*SMALL, *changes]), tmp_path / "run", RECIPE)


def test_a_rate_may_fall_towards_the_last_epoch(tmp_path: Path) -> None:
    """The last of three epochs moves the model less where the rate falls, and the protocol says so."""
    config, moved = load(overrides=SMALL), {}
    for decay_from in (1.0, 0.0):
        recipe = Recipe(epochs=3, patience=3, batch=16, rate=0.01, decay_from=decay_from)
        program, tables = start(*reversed(prepared(config))), []
        for _ in epochs_of(program, recipe):
            tables.append(program.frozen().table)
        moved[decay_from] = float((tables[-1] - tables[-2]).norm())
    assert moved[0.0] < 0.5 * moved[1.0]
    summary = centralise(config, tmp_path / "run", replace(recipe, epochs=2))
    assert "Adam 0.01, falling from 0% of the epochs on" in summary["protocol"]


def test_a_rate_that_is_too_large_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"epoch \d: the loss is nan; --rate 1e\+30 may be too large"):
        centralise(load(overrides=SMALL), tmp_path / "run", Recipe(epochs=5, rate=1e30))


def test_the_command_line_has_its_recipe(tmp_path: Path) -> None:
    runner, out = CliRunner(), tmp_path / "run"
    sets = [part for setting in SMALL for part in ("--set", setting)]
    told = runner.invoke(
        app, ["run", *sets, "--centralised", "--epochs", "1", "--batch", "20", "--out", str(out)]
    )
    assert told.exit_code == 0, told.output
    assert "centralised: epoch 1 of 1, valid unfiltered HR@10" in told.output
    assert "20 users a step" in " ".join(json.loads((out / "summary.json").read_text())["protocol"].split())
    for arguments, why in (
        (["--epochs", "3"], "--epochs is for --centralised"),
        (["--centralised", "--resume", "--out", str(out)], "--resume is for a federation"),
        (["--centralised", "--engine", "ray"], "--engine ray is for a federation"),
    ):
        error = runner.invoke(app, ["run", *sets, *arguments]).exception
        assert isinstance(error, ConfigError)
        assert why in str(error)
