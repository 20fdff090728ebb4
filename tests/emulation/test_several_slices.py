"""Whole runs with several slices a round: more devices learn more, through bytes as within one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from attacks.app import app as client_app
from benchmarks.slices import Counted
from common.settings import load
from emulation.federation import federate, node_configs, prepared, repeatable
from emulation.local_grid import LocalGrid
from server.app import serve
from tests.server.federation import Watch, lines, refusals, same_model

LARGE = (
    "data.name=synthetic",
    "data.path='devices=300,items=2000,interactions=3000'",
    "model.dim=8",
    "model.blocks=1",
    "train.rounds=6",
    "train.devices_per_round=60",
    "train.slice_size=64",
    "eval.every=0",
    "checkpoint_every=0",
    "strategy.constraints=[exposure_cap]",
)


@pytest.mark.parametrize("rule", ["mean", "sieve"])
def test_more_devices_are_busy_and_train_more_next_items(rule: str, tmp_path: Path) -> None:
    busy, trained, sent = {}, {}, {}
    for slices in (1, 4):
        settings = load(overrides=[*LARGE, f"train.slices={slices}", f"strategy.aggregator={rule}"])
        dataset, settings = prepared(settings)
        settings = repeatable(settings)
        app, watch = Counted(settings), Watch()
        grid = LocalGrid(app, node_configs(settings))
        summary = serve(grid, settings, dataset.num_items, tmp_path / f"{slices}", listeners=[watch])
        assert not any(report.why for report in watch.rounds)
        busy[slices] = sum(report.figures["admitted"] for report in watch.rounds)
        trained[slices] = app.trained
        sent[slices] = sum(report.figures["bytes_up"] for report in watch.rounds) / busy[slices]
        assert all(r.figures["admitted"] + r.figures["idle"] == 60 for r in watch.rounds)
        assert 0 < summary["test"]["ndcg@10"] < 1
        several = "best of 4 slices of 64 (" in summary["protocol"]
        assert several == (slices == 4)
    assert busy[4] > 1.3 * busy[1]
    assert trained[4] > 1.3 * trained[1]
    assert sent[4] == pytest.approx(sent[1], rel=0.1)  # bytes a busy device


SMALL = (
    *LARGE,
    "data.path='devices=60,items=40,interactions=480'",
    "train.rounds=3",
    "train.devices_per_round=30",
    "train.slice_size=6",
    "train.slices=4",
)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_bytes_and_tensors_end_with_the_same_model(dtype: str, tmp_path: Path) -> None:
    """Flower's byte format, as over gRPC, beside arrays handed over as they are."""
    settings = load(overrides=[*SMALL, f"wire.dtype={dtype}", "strategy.secret=x"])
    log = {"data": "synthetic", "path": settings.data.path, "repeatable": True, "min_group": 1}
    nodes = [{**log, "part": f"{k}/3"} for k in range(3)]
    for name, serialise in (("bytes", True), ("tensors", False)):
        serve(LocalGrid(client_app, nodes, serialise=serialise), settings, 40, tmp_path / name)
    assert same_model(tmp_path / "bytes", tmp_path / "tensors")


OWN = (
    *("adaptive", "parity", "explicit_boost", "label_to_target", "pieck_uea", "poison_frs", "cluster_attack"),
    *("alie", "fang_krum", "gaussian", "random_labels", "zero", "bandwagon"),
)
FULL = ("alie", "min_max", "fang_krum", "spattack")


@pytest.mark.parametrize(
    ("attack", "knowledge"), [*((name, "own") for name in OWN), *((name, "full") for name in FULL)]
)
def test_attacks_take_slices_too(attack: str, knowledge: str, tmp_path: Path) -> None:
    over = [
        f"attack.name={attack}",
        f"attack.knowledge={knowledge}",
        "attack.share=0.3",
        "attack.targets=[3]",
    ]
    federate(load(overrides=[*SMALL, *over]), tmp_path / "run")
    # A device with nothing to train sends one row under `explicit_boost`, with one slice as with several.
    bare = {"coverage"} if attack == "explicit_boost" else set()
    assert {why for _, why in refusals(tmp_path / "run")} == bare
    taken = [e for e in lines(tmp_path / "run", "audit") if e["verdict"] == "admitted"]
    malicious = {e["node"] for e in taken} - {1}
    assert malicious == (set() if attack == "zero" else {2})


@pytest.mark.parametrize("attack", ["wrong_shape", "replay", "stale_round", "oversize", "wrong_keys", "nan"])
def test_attacks_on_the_protocol_are_refused(attack: str, tmp_path: Path) -> None:
    over = [f"attack.name={attack}", "attack.share=0.3"]
    federate(load(overrides=[*SMALL, *over]), tmp_path / "run")
    assert {round_ for round_, _ in refusals(tmp_path / "run")} >= {2, 3}
