"""A device with nothing to train in the round's slice is idle, which is no refusal, wherever it is told."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from flwr.app import Message

from client.app import app as client_app
from common.errors import RunError
from emulation.local_grid import LocalGrid
from experiments.containers.results import trust
from experiments.run_figures import IDLE, IDLE_LABEL, devices, read_audit
from server.records.progress import LogProgress
from tests.server.federation import Watch, config, lines, node, run
from transport.serving import _line

SPARSE = ("train.slice_size=2", "train.rounds=2", "eval.targets=[]")
"""So few items that most devices have none of them."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("idle")
    run(config(*SPARSE), out)
    return out


def test_the_audit_and_the_summary_call_it_idle(finished: Path) -> None:
    audit = lines(finished, "audit")
    assert {line["verdict"] for line in audit} == {"admitted", "idle"}
    idle = [line for line in audit if line["verdict"] == "idle"]
    assert all(line["reason"] == "idle" and "weight" not in line for line in idle)
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["idle_share"] == pytest.approx(len(idle) / 32, abs=1e-4)
    assert 0.2 < summary["idle_share"] < 1


def test_the_page_and_the_table_of_containers_have_it_apart_from_refusals(finished: Path) -> None:
    audit = lines(finished, "audit")
    found, _ = read_audit(audit)
    assert set(found) == {"admitted", IDLE_LABEL}
    assert [bar.marker.color for bar in devices(found).data][1] == IDLE
    older = [{**line, "verdict": "refused"} if line["reason"] == "idle" else line for line in audit]
    assert read_audit(older)[0] == found
    one = trust(audit)[1]
    assert (one.refused, one.admitted + one.idle) == (0, 32)
    assert trust(older) == trust(audit)


def test_the_servers_line_and_the_nodes_line_count_it(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    said: list[str] = []

    class Terminal(LocalGrid):
        def _answer(self, message: Message) -> Message:
            reply = super()._answer(message)
            said.append(_line(message, reply, 0.1)[1])
            return reply

    watch = Watch()
    with caplog.at_level(logging.INFO, logger="flwr"):
        grid = Terminal(client_app, [node()])
        run(config(*SPARSE), tmp_path, grid=grid, listeners=[LogProgress(2), watch])
    busy, idle = (int(watch.rounds[0].figures[name]) for name in ("admitted", "idle"))
    assert f"round 1 of 2: {busy} of 16 devices admitted, {idle} idle, about" in caplog.text
    (first,) = [line for line in said if line.startswith("round 1: trained")]
    plural = "device" if busy == 1 else "devices"
    assert first == f"round 1: trained {busy} {plural}, {idle} idle, in 0.1 s"
    assert "refused" not in caplog.text


def test_a_round_without_updates_says_how_many_were_idle(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"idle: \d+, with no next item in the slice") as caught:
        run(config(*SPARSE, "strategy.min_replies=16"), tmp_path)
    assert "refused" not in str(caught.value)
