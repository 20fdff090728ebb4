"""A rule with a root over gRPC: the operator's own node, named by the id that the SuperLink gave it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.data import load
from experiments.deployed import Plan, stage
from experiments.local_deployment import deployment
from experiments.processes import wait_until
from tests.deployment.federation import RUN_S, Place, assert_same_run, in_this_process, rounds

pytestmark = pytest.mark.deployment
CONNECTED = r"node (\d+) is connected"


def test_a_trusted_node_over_grpc_gives_the_model_of_one_process(tmp_path: Path) -> None:
    app = stage(tmp_path / "app")
    with deployment(tmp_path / "run") as local:
        place = Place(local, app, load("synthetic"), tmp_path)
        settings = ["strategy.aggregator=fltrust", "strategy.trusted_nodes=[4]", "attack.name=sign_flip"]
        made = place.plan(2, 1, "train.rounds=3", *settings)
        public = made.nodes[0]  # one log is public too
        warm = local.warm_node(public)
        wait_until(lambda: re.search(CONNECTED, warm.text()) is not None, RUN_S, warm)
        found = re.search(CONNECTED, warm.text())
        assert found is not None
        for node in made.nodes:
            local.warm_node(node)
        named = {"trusted_nodes": (int(found[1]),)}
        told = made.config.model_copy(update={"strategy": made.config.strategy.model_copy(update=named)})
        out, reference = tmp_path / "grpc", tmp_path / "local"
        place.run(Plan(made.nodes, told), out)
        in_this_process(Plan([*made.nodes, public], made.config), place.data.num_items, reference)
        assert_same_run(out, reference)
        assert all(not line["skipped"] and line["fltrust.trusted"] > 0 for line in rounds(out))
