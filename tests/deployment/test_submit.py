"""``fedsieve submit`` at a real SuperLink, and a node with a catalogue of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from common.data import CATALOGUE, load, write_shards
from common.data.names import Names
from experiments.local_deployment import Deployment, deployment
from experiments.processes import Process, module

pytestmark = pytest.mark.deployment
RECIPE = "devices=40,items=30,length=8"
SETTINGS = ["train.rounds=2", "train.devices_per_round=10", "train.slice_size=30", "eval.every=0"]
SETTINGS += ["model.dim=4", "model.max_len=8", "model.blocks=1", "strategy.aggregator=mean"]


def submit(local: Deployment, name: str, *settings: str) -> Process:
    overrides = [word for one in [*SETTINGS, *settings] for word in ("--set", one)]
    command = [*module("experiments.cli"), "submit", "--insecure", "--control", local.control, *overrides]
    return local.start(name, command)


def test_submitting_twice_makes_two_runs_and_another_catalogue_is_refused_on_both_sides(
    tmp_path: Path,
) -> None:
    data = load("synthetic", RECIPE)
    first, second = write_shards(data, 2, tmp_path / "a")
    renamed = replace(data, item_ids=Names.of(list(reversed(list(data.item_ids)))))
    _, other = write_shards(renamed, 2, tmp_path / "b")
    known = f"data.path={tmp_path / 'a' / CATALOGUE}"
    with deployment(tmp_path / "local") as local:
        node = local.warm_node({"path": str(first)})
        strange = local.warm_node({"path": str(other)})
        refused = submit(local, "refused", known, "strategy.wait_nodes=2", "strategy.wait_s=8")
        assert refused.popen.wait(120) == 2, local.logs()
        last = refused.text().strip().splitlines()[-1]
        assert last.startswith("fedsieve: run ")
        assert "1 of 2 nodes after 8 s" in last
        assert "catalogue: foreign" in last
        assert "the server's catalogue is" in strange.text()
        assert "Traceback" not in refused.text()
        strange.stop()
        local.warm_node({"path": str(second)})
        for name in ("once", "again"):
            done = submit(local, name, known, "strategy.wait_nodes=2")
            assert done.popen.wait(180) == 0, local.logs()
            assert "\nfinished: test HR@10" in done.text()
            assert "\\x1b" not in done.text()  # of Flower's colours
        found = sorted((tmp_path / "local" / "runs").glob("a-sasrec-mean-no-attack-*/summary.json"))
        assert len(found) == 2
        assert all(json.loads(file.read_text())["rounds"] == 2 for file in found)
        assert "round 1: trained" in node.text()
