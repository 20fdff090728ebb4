"""A real run that is watched: /metrics while it goes on, JSON logs, a truthful ready file, no leak."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import soak
from common.data import load
from common.settings import load as settings
from experiments.deployed import plan, stage
from experiments.local_deployment import Deployment, deployment
from experiments.processes import Process, free_ports, listening, wait_until

pytestmark = pytest.mark.deployment
RUN_S, ROUNDS = 150.0, 20
Figures = dict[tuple[str, ...], float]


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.fixture
def local(tmp_path: Path, port: int) -> Iterator[Deployment]:
    with deployment(tmp_path / "run", FEDSIEVE_METRICS=str(port), FEDSIEVE_LOG="json") as made:
        yield made


def scrape(port: int) -> Figures:
    """(name, *labels) -> value of what is served now; empty while nothing is."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    except (URLError, ConnectionError):
        return {}
    families = text_string_to_metric_families(text)
    return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}


def objects(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


def test_a_run_can_be_watched(local: Deployment, tmp_path: Path, port: int) -> None:
    config = settings(overrides=[*soak.SMALL, f"train.rounds={ROUNDS}", "attack.name=nan", "eval.every=0"])
    made = plan(config, load("synthetic"), 2, 1, tmp_path / "logs")
    nodes = [local.warm_node(node) for node in made.nodes]
    out = tmp_path / "out"
    run = local.submit(stage(tmp_path / "app"), made.run_config(out))
    seen: Figures = {}

    def watched() -> bool:
        seen.update(scrape(port))
        return seen.get(("fedsieve_round",), 0) >= ROUNDS // 2

    wait_until(watched, RUN_S, run)
    assert run.popen.wait(RUN_S) == 0, local.logs()
    assert not listening(f"127.0.0.1:{port}")  # with the run ends its port
    assert_figures(out, seen)
    assert_logs(run.text(), nodes)


def assert_figures(out: Path, seen: Figures) -> None:
    """What was served in the middle agrees with the files up to that round."""
    round_ = int(seen["fedsieve_round",])
    told = [json.loads(text) for text in (out / "metrics.jsonl").read_text().splitlines()][:round_]
    audit = [json.loads(text) for text in (out / "audit.jsonl").read_text().splitlines()]
    audit = [line for line in audit if line["round"] <= round_]
    assert seen["fedsieve_rounds_total", "stepped"] == round_
    assert seen["fedsieve_nodes", "known"] == 3
    assert seen["fedsieve_bytes_total", "in"] == sum(line["bytes_up"] for line in told) > 0
    assert seen["fedsieve_bytes_total", "out"] == sum(line["bytes_down"] for line in told) > 0
    admitted = sum(line["verdict"] == "admitted" for line in audit)
    assert seen["fedsieve_updates_total", "admitted"] == admitted > 0
    poison = sum(line["reason"] == "not_finite" for line in audit)
    assert seen["fedsieve_rejections_total", "update", "not_finite"] == poison > 0
    spent = sum(line["seconds_exchange"] for line in told)
    assert seen["fedsieve_stage_seconds_sum", "exchange"] == pytest.approx(spent)
    assert seen["process_resident_memory_bytes",] > 50e6


def assert_logs(said: str, nodes: list[Process]) -> None:
    """The run's log and each node's are objects, with an event for every round."""
    server = objects(said)
    rounds = [line for line in server if line["event"] == "round"]
    assert [line["round"] for line in rounds] == list(range(1, ROUNDS + 1))
    assert all(line["role"] == "server" and line["run"] for line in server)
    assert {"recipe", "metrics", "evaluation", "finished"} <= {line["event"] for line in server}
    for node in nodes:
        assert all(line.startswith("{") for line in node.text().splitlines()), node.text()
        answered = [line for line in objects(node.text()) if line["event"] == "answered"]
        train = [line["round"] for line in answered if line["fields"]["kind"] == "train"]
        assert train
        assert train == sorted(set(train))
        assert {line["run"] for line in answered if line["round"]} == {rounds[0]["run"]}


def test_the_ready_file_follows_the_connection(tmp_path: Path) -> None:
    with deployment(tmp_path / "run") as local:
        ready = tmp_path / "ready"
        node = local.start("node", [*command(local), "--ready-file", ready])
        wait_until(ready.exists, RUN_S, node)
        assert time.time() - ready.stat().st_mtime < 75  # what docs/deployment.md calls fresh
        local.superlinks[0].kill()
        wait_until(lambda: not ready.exists(), RUN_S, node)
        local.superlink()
        wait_until(ready.exists, RUN_S, node)
        assert node.stop(30) == 0  # it may be about to try again just then
        assert not ready.exists()


def command(local: Deployment) -> list[str]:
    words = [sys.executable, "-m", "client.node", "--insecure", "--superlink", local.fleet]
    return [*words, "--node-config", 'data="synthetic"']


def test_a_short_soak(capsys: pytest.CaptureFixture[str]) -> None:
    status = soak.main(
        ["--rounds", "30", "--nodes", "2", "--every", "2", "--tolerance", "0.2", "--slack", "6"]
    )
    said = capsys.readouterr().out
    assert status == 0, said
    for name in ("superlink", "serverapp", "node 1", "node 2"):
        assert f"\n{name} " in said
