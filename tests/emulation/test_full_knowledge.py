"""Attackers that see the honest updates of the round: in one process, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Message, MessageType

from attacks.app import app as client_app
from attacks.app import node_settings
from attacks.estimates import vectors
from client.cohort import Cohort
from client.fleet import open_fleet
from common import wire
from common.data import load
from common.errors import ConfigError
from common.tasks import TrainTask
from common.updates import DeviceUpdates
from common.wire import UpdateSpec
from emulation.embedded import Embedded
from emulation.federation import federate
from emulation.local_grid import LocalGrid
from experiments.compare.results import row
from experiments.deployed import plan
from experiments.engines import emulate
from experiments.run_files import summary_table
from tests.client import samples
from tests.server.federation import LOG as FEDERATION
from tests.server.federation import config, lines
from tests.server.test_app import start
from transport.messages import App

LOG = {
    **{"data": "synthetic", "path": f"devices=16,items={samples.ITEMS},length=6", "share": 0.25},
    **{"seed": 1, "repeatable": True, "negatives": "slice,full,device"},
}
IPM = {"attack": "ipm", "params": '{"epsilon": 3.0}', "knowledge": "full"}


def a_task(round_: int = 3, **train: Any) -> TrainTask:
    task = samples.task(**train)
    devices = torch.tensor(open_fleet(node_settings({k: LOG[k] for k in ("data", "path")})).numbers)
    return replace(task, round=round_, devices=devices)


def decoded(reply: Message, task: TrainTask) -> DeviceUpdates:
    assert not reply.has_error(), reply.error
    spec = UpdateSpec(
        run=task.run,
        round=task.round,
        num_parameters=len(task.model.encoder),
        dim=samples.DIM,
        items=task.items,
        num_items=samples.ITEMS,
        devices=task.devices,
        negatives=task.train_config.negatives,
    )
    return wire.decode_updates(reply.content, spec)


def answers(app: App, task: TrainTask, nodes: tuple[int, ...] = (1, 2), **evil: Any) -> list[Message]:
    grid = LocalGrid(app, [{**LOG, "part": "honest"}, {**LOG, "part": "malicious", **IPM, **evil}])
    content = wire.encode_train_task(task)
    return grid.send_and_receive([Message(content, node, MessageType.TRAIN) for node in nodes])


def test_the_mean_that_is_reversed_is_that_of_the_honest_devices() -> None:
    task = a_task()
    replies = answers(Embedded(20.0, omniscient=True), task)
    honest, evil = (vectors(decoded(reply, task)) for reply in replies)
    expected = -3 * honest[honest.any(dim=1)].mean(0)
    torch.testing.assert_close(evil, expected.expand_as(evil), rtol=1e-4, atol=1e-6)


def test_its_default_is_to_know_its_own_devices_only() -> None:
    task = a_task()
    replies = answers(Embedded(20.0, omniscient=False), task, knowledge="own")
    fleet = open_fleet(node_settings({**LOG, "part": "malicious"}))
    own = vectors(Cohort(task, fleet.numbers, [fleet.train(n) for n in fleet.numbers], key=1).train())
    evil = vectors(decoded(replies[1], task))
    torch.testing.assert_close(evil, (-3 * own[own.any(dim=1)].mean(0)).expand_as(evil), rtol=1e-4, atol=1e-6)


def test_with_own_rows_the_mean_is_over_the_rows_that_it_may_send() -> None:
    task = a_task(negatives="device", device_negatives=4)
    replies = answers(Embedded(20.0, omniscient=True), task)
    honest, evil = (decoded(reply, task) for reply in replies)
    assert evil.touched is not None
    assert not bool(evil.rows[~evil.touched].any())
    busy = honest.rows.flatten(1).any(dim=1)
    number = int(busy.sum())
    for place, item in enumerate(evil.items.tolist()):
        held = (honest.items == item).nonzero().flatten()
        total = honest.rows[:, held].sum((0, 1)) if len(held) else torch.zeros(samples.DIM)
        for device in evil.touched[:, place].nonzero().flatten():
            torch.testing.assert_close(evil.rows[device, place], -3 * total / number, rtol=1e-4, atol=1e-6)


def test_a_round_without_honest_devices_is_not_answered_with_an_older_one() -> None:
    app = Embedded(20.0, omniscient=True)
    answers(app, a_task(round_=2))
    task = a_task(round_=3)
    (reply,) = answers(app, task, nodes=(2,))
    fleet = open_fleet(node_settings({**LOG, "part": "malicious"}))
    own = vectors(Cohort(task, fleet.numbers, [fleet.train(n) for n in fleet.numbers], key=1).train())
    evil = vectors(decoded(reply, task))
    torch.testing.assert_close(evil, (-3 * own[own.any(dim=1)].mean(0)).expand_as(evil), rtol=1e-4, atol=1e-6)


def test_a_node_of_its_own_is_refused() -> None:
    honest, evil = answers(client_app, a_task())
    assert honest.has_content()
    assert "a node on its own sees no updates but its own" in str(evil.error.reason)


def test_a_deployment_refuses_it(tmp_path: Path) -> None:
    settings = config("attack.name=ipm", "attack.knowledge=full")
    data = load("synthetic", "devices=10,items=30,length=8")
    with pytest.raises(ConfigError, match=r"attack\.knowledge: full is for `fedsieve run` alone"):
        plan(settings, data, 2, 1, tmp_path)
    with pytest.raises(ConfigError, match=r"attack\.knowledge: full is for `fedsieve run` alone"):
        start(tmp_path, "attack.name=ipm", "attack.knowledge=full")


def test_an_attack_without_use_for_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"attack\.knowledge: 'sign_flip' .* alie, fang_krum, .*, spattack"):
        federate(config("attack.name=sign_flip", "attack.knowledge=full"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name", ["alie", "fang_krum", "fang_trmean", "min_max", "mimic", "min_sum", "spattack"]
)
@pytest.mark.parametrize("negatives", ["slice", "device"])
def test_a_run_with_full_knowledge_says_so(tmp_path: Path, name: str, negatives: str) -> None:
    params = "{mode: o}" if name == "spattack" else "{}"
    settings = config(
        *(f"attack={{name: {name}, share: 0.4, knowledge: full, params: {params}}}", "train.rounds=2"),
        *("eval.every=0", f"train.negatives={negatives}"),
    )
    summary = federate(settings, tmp_path)
    assert summary["knowledge"] == "full"
    told = "attackers see all honest updates"
    assert told in summary["protocol"]
    assert told in str(summary_table(summary).caption)
    assert told in row(tmp_path, settings, load("synthetic", FEDERATION))["protocol"]
    assert {line["reason"] for line in lines(tmp_path, "audit") if line["verdict"] == "refused"} <= {"idle"}


def test_its_page_says_so(tmp_path: Path) -> None:
    emulate(config("attack={name: alie, share: 0.4, knowledge: full}", "train.rounds=1"), tmp_path)
    assert "attackers see all honest updates" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_run_without_it_does_not(tmp_path: Path) -> None:
    summary = federate(config("attack={name: ipm, share: 0.4}", "train.rounds=1", "eval.every=0"), tmp_path)
    assert summary["knowledge"] == "own"
    assert "attackers" not in summary["protocol"]


def test_a_clean_run_beside_it_is_not_refused(tmp_path: Path) -> None:
    federate(config("attack.name=control", "attack.knowledge=full", "train.rounds=1"), tmp_path)
