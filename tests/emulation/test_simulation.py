"""``--engine ray`` without Ray: partitions, the app on them, and what is refused. Runs: tests/deployment."""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict

from attacks.app import node_settings
from client.app import app as client_app
from client.fleet import open_fleet
from common.config import RunConfig
from common.errors import ConfigError
from common.wire import decode_enrolment
from emulation import simulation
from emulation.federation import malicious_numbers, node_configs, prepared
from emulation.local_grid import LocalGrid
from emulation.partitions import partitions
from emulation.simulation import Placed, simulate
from tests.server.federation import DEVICES, config
from transport.exchange import exchange
from transport.ray_runtime import Over, backend, interrupting, quiet, until

ATTACKED = ("attack.name=label_to_target", "attack.share=0.25", "strategy.aggregator=sieve")


def planned(tmp_path: Path, honest: int, *overrides: str) -> tuple[RunConfig, list[dict[str, Any]]]:
    dataset, settings = prepared(config(*overrides))
    return settings, partitions(settings, dataset, honest, tmp_path / "logs")


def devices(node: dict[str, Any]) -> set[int]:
    return set(open_fleet(node_settings(node)).numbers)


def test_honest_devices_are_divided_and_the_attackers_stay_together(tmp_path: Path) -> None:
    settings, nodes = planned(tmp_path, 3, *ATTACKED)
    dataset, _ = prepared(settings)
    bad = malicious_numbers(settings, dataset)
    assert len(nodes) == 4
    assert devices(nodes[3]) == bad
    assert nodes[3]["attack"] == "label_to_target"
    assert all("attack" not in node for node in nodes[:3])
    assert sorted(map(len, map(devices, nodes[:3]))) == [10, 10, 10]
    assert set.union(*map(devices, nodes)) == {int(d) for d in dataset.devices}
    embedded = [set(open_fleet(node_settings(one)).numbers) for one in node_configs(settings)]
    assert embedded == [set.union(*map(devices, nodes[:3])), bad]


def test_the_attackers_are_divided_where_they_have_several_nodes(tmp_path: Path) -> None:
    dataset, settings = prepared(config(*ATTACKED))
    nodes = partitions(settings, dataset, 3, tmp_path / "logs", malicious=2)
    parts = [devices(node) for node in nodes if "attack" in node]
    assert [len(part) for part in parts] == [5, 5]
    assert parts[0] | parts[1] == malicious_numbers(settings, dataset)


def test_a_worker_holds_the_share_of_a_gpu_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert backend("/somewhere", 0.5)["client_resources"] == {"num_cpus": 1, "num_gpus": 0.5}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)  # as if Ray were installed
    monkeypatch.setattr(simulation, "available", lambda: ["cpu"])
    with pytest.raises(ConfigError, match="--gpus-per-node 1: this machine has cpu"):
        simulate(config(), tmp_path, gpus=1.0)


def test_the_limits_of_the_log_hold(tmp_path: Path) -> None:
    settings, nodes = planned(tmp_path, 2, "data.max_devices=12", "data.max_length=5")
    fleets = [open_fleet(node_settings(node)) for node in nodes]
    assert sum(len(fleet.numbers) for fleet in fleets) == settings.data.max_devices == 12
    assert max(len(fleet.train(n)) for fleet in fleets for n in fleet.numbers) == 3  # and two held out


@pytest.mark.parametrize("honest", [0, -1, DEVICES + 1])
def test_a_node_has_a_device_at_least(tmp_path: Path, honest: int) -> None:
    with pytest.raises(ConfigError, match="--nodes"):
        planned(tmp_path, honest)


def test_the_app_finds_its_partition_and_keeps_its_state(tmp_path: Path) -> None:
    _, nodes = planned(tmp_path, 2)
    placed: Placed = pickle.loads(pickle.dumps(Placed(nodes)))  # as Ray takes it to a worker
    state = RecordDict()
    context = Context(1, 77, {"partition-id": 1, "num-partitions": 2}, state, {})
    grid = LocalGrid(placed, [dict(context.node_config)])
    (reply,) = grid.send_and_receive([Message(RecordDict(), dst_node_id=1, message_type="query")])
    assert set(decode_enrolment(reply.content, 100).devices.tolist()) == devices(nodes[1])
    assert grid.context(1).node_config == {"partition-id": 1, "num-partitions": 2}  # the runtime's own


def test_nothing_listens_beyond_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before, tokens = dict(os.environ), set[str]()
    for _ in range(2):
        with quiet():
            assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"  # Ray's word for 127.0.0.1
            assert os.environ["RAY_AUTH_MODE"] == "token"
            assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
            tokens.add(os.environ["RAY_AUTH_TOKEN"])
        assert dict(os.environ) == before
    assert len(tokens) == 2
    made = backend("/somewhere")["init_args"]
    assert made["include_dashboard"] is False
    assert made["_temp_dir"] == "/somewhere"


def test_a_cluster_that_is_there_keeps_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    assert set(backend("/somewhere")["init_args"]) == {"include_dashboard", "log_to_driver"}
    with quiet():
        assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_runtime_that_ended_ends_the_server_too() -> None:
    grid, over = LocalGrid(client_app, [{}]), threading.Event()
    until(over, grid)
    assert grid.get_node_ids() == [1]
    over.set()
    with pytest.raises(Over):
        exchange(grid, [Message(RecordDict(), dst_node_id=1, message_type="query")], 5.0)
    with pytest.raises(Over):
        grid.get_node_ids()


def test_without_ray_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'fedsieve\[ray\]'"):
        simulate(config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("attack.name=alie", "attack.knowledge=full"), "knowledge: full is for --engine local"),
        (("strategy.aggregator=fltrust",), "fltrust needs a trusted node"),
    ],
)
def test_what_a_simulation_cannot_do_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], told: str
) -> None:
    monkeypatch.setattr(simulation.importlib.util, "find_spec", lambda name: name)
    with pytest.raises(ConfigError, match=told):
        simulate(config(*overrides), tmp_path / "run")


def test_ctrl_c_is_heard_while_the_main_thread_waits() -> None:
    over, before = threading.Event(), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with interrupting(over):
            os.kill(os.getpid(), signal.SIGINT)
            assert over.wait(10)
    finally:
        signal.signal(signal.SIGINT, before)
    quiet = threading.Event()
    with interrupting(quiet):
        pass
    assert not quiet.is_set()


def test_the_first_ctrl_c_breaks_no_wait_and_the_second_does() -> None:
    """One that breaks it leaves Flower's workers asking a Ray that has gone, and the process with them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    over, waits = threading.Event(), []

    def twice() -> None:
        with interrupting(over):
            os.kill(os.getpid(), signal.SIGINT)
            waits.append(over.wait(10))
            signal.raise_signal(signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            twice()
        assert waits == [True]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
