"""The figures of a run as Prometheus reads them: what was counted, what was refused, and where."""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from flwr.app import Context, RecordDict
from prometheus_client.parser import text_string_to_metric_families

from client.app import app as client_app
from common.errors import ConfigError
from common.settings import to_flat
from common.wire import Reason
from emulation.local_grid import LocalGrid
from experiments.processes import free_ports, listening
from server.app import app
from server.records.metrics import RunMetrics
from server.records.metrics_http import metrics, parse
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState
from tests.server.federation import Watch, config, node, run

STATE: ServerState = None  # type: ignore[assignment]  # not looked at


def line(device: int | None, verdict: str, reason: str = "") -> dict[str, Any]:
    return {"device": device, "verdict": verdict, "reason": reason}


REPORT = RoundReport(
    7,
    {
        **{"asked": 6.0, "admitted": 3.0, "bytes_up": 300.0, "bytes_down": 1000.0, "seconds": 0.3},
        **{"seconds_exchange": 0.2, "seconds_admission": 0.05, "update_norm": 4.0},
        **{"nodes_known": 4.0, "nodes_asked": 3.0, "nodes_answered": 2.0},
    },
    [
        line(1, "admitted"),
        line(2, "admitted"),
        line(3, "clipped", "history"),
        line(4, "refused", "not_finite"),
        line(None, "refused", "failed"),
    ],
)


@pytest.fixture
def counted() -> RunMetrics:
    return RunMetrics("12", config())


def value(found: RunMetrics, name: str, **labels: str) -> float | None:
    return found.registry.get_sample_value(f"fedsieve_{name}", labels)


def test_a_round_is_counted(counted: RunMetrics) -> None:
    counted.on_round(REPORT, STATE)
    counted.on_round(RoundReport(8, {"seconds": 3.0}, why="too few"), STATE)
    assert value(counted, "round") == 8
    assert value(counted, "rounds_planned") == 4
    assert value(counted, "rounds_total", outcome="stepped") == 1
    assert value(counted, "rounds_total", outcome="skipped") == 1
    assert value(counted, "replies_total", outcome="answered") == 2
    assert value(counted, "replies_total", outcome="silent") == 1
    assert value(counted, "bytes_total", direction="in") == 300
    assert value(counted, "bytes_total", direction="out") == 1000
    assert value(counted, "round_seconds_sum") == pytest.approx(3.3)
    assert value(counted, "round_seconds_bucket", le="0.5") == 1


def test_gauges_are_those_of_the_last_round(counted: RunMetrics) -> None:
    counted.on_round(RoundReport(6, {"nodes_known": 9.0}), STATE)
    counted.on_round(REPORT, STATE)
    states = [value(counted, "nodes", state=name) for name in ("known", "asked", "answered")]
    assert states == [4, 3, 2]
    assert [value(counted, "devices", state=name) for name in ("asked", "admitted")] == [6, 3]


def test_verdicts_and_reasons_are_told_apart(counted: RunMetrics) -> None:
    counted.on_round(REPORT, STATE)
    verdicts = [value(counted, "updates_total", verdict=v) for v in ("admitted", "clipped", "refused")]
    assert verdicts == [2, 1, 1]
    assert value(counted, "rejections_total", of="update", reason="not_finite") == 1
    assert value(counted, "rejections_total", of="reply", reason="failed") == 1
    assert value(counted, "rejections_total", of="update", reason="history") == 0  # cut, and admitted


def test_every_reason_is_there_before_it_happens(counted: RunMetrics) -> None:
    refusals = set(Reason) - {Reason.IDLE}  # nobody is refused for having nothing to do
    assert {value(counted, "rejections_total", of="reply", reason=r.value) for r in refusals} == {0}
    assert value(counted, "updates_total", verdict="idle") == 0


def test_stages_are_the_figures_that_name_themselves_so(counted: RunMetrics) -> None:
    counted.on_round(REPORT, STATE)
    assert value(counted, "stage_seconds_sum", stage="exchange") == 0.2
    assert value(counted, "stage_seconds_count", stage="admission") == 1
    assert value(counted, "stage_seconds_count", stage="update_norm") is None


def test_evaluations_and_the_run_itself(counted: RunMetrics) -> None:
    counted.on_evaluation(Evaluation(4, "valid", {"all": {"hr@10": 0.25}, "q1": {}}, {"er@10": 0.5}, 9))
    assert value(counted, "evaluation", split="valid", metric="hr@10") == 0.25
    assert value(counted, "evaluation", split="valid", metric="er@10") == 0.5
    about = {"run": "12", "model": "sasrec", "data": "synthetic", "aggregator": "mean"}
    assert value(counted, "run_info", **about) == 1
    of_file = RunMetrics("12", config("data.name=ml-100k", "data.path=logs/shop.csv"))
    assert value(of_file, "run_info", **{**about, "data": "shop"}) == 1


def test_a_real_run_adds_up_to_its_own_reports(tmp_path: Path, counted: RunMetrics) -> None:
    watch = Watch()
    evil = [node("0/2"), node("1/2", attack="nan")]
    run(config("strategy.aggregator=median"), tmp_path / "out", evil, listeners=[counted, watch])
    admitted = sum(r.figures["admitted"] for r in watch.rounds)
    assert value(counted, "updates_total", verdict="admitted") == admitted > 0
    assert value(counted, "rejections_total", of="update", reason="not_finite") == sum(
        e["reason"] == "not_finite" for r in watch.rounds for e in r.audit
    )
    assert value(counted, "replies_total", outcome="answered") == 8  # two nodes, four rounds
    assert value(counted, "nodes", state="known") == 2
    for stage in ("exchange", "admission", "aggregate"):
        assert value(counted, "stage_seconds_count", stage=stage) == 4


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1", "127.0.0.1:", ":9464", "1:65536", "-1", "a:b", "²"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"FEDSIEVE_METRICS: .*expected PORT or HOST:PORT"):
        parse(text)


def test_addresses_are_read() -> None:
    assert parse("9464") == ("127.0.0.1", 9464)
    assert parse(" 0.0.0.0:9464 ") == ("0.0.0.0", 9464)
    assert parse("[::1]:0") == ("::1", 0)


def test_it_is_off_unless_asked_for() -> None:
    for environment in ({}, {"FEDSIEVE_METRICS": " "}):
        with metrics(config(), "1", environment) as listeners:
            assert listeners == []


def test_it_serves_while_the_run_goes_on_and_not_after() -> None:
    (port,) = free_ports(1)
    with metrics(config(), "12", {"FEDSIEVE_METRICS": str(port)}) as listeners:
        (listener,) = listeners
        listener.on_round(REPORT, STATE)
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert answer.headers.get_content_type() == "text/plain"
            text = answer.read().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (found,) = families["fedsieve_round"].samples
    assert found.value == 7
    assert "process_resident_memory_bytes" in families
    assert not listening(f"127.0.0.1:{port}")
    with metrics(config(), "13", {"FEDSIEVE_METRICS": str(port)}) as again:  # the next run has the same port
        assert len(again) == 1


def test_a_taken_port_costs_the_figures_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("FEDSIEVE_METRICS", address)
        with caplog.at_level(logging.INFO, logger="flwr"):
            grid = LocalGrid(client_app, [node()])
            app(grid, Context(1, 0, {}, RecordDict(), {**to_flat(config()), "out": str(tmp_path / "out")}))
    assert (tmp_path / "out" / "summary.json").exists()
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.getMessage().startswith(f"FEDSIEVE_METRICS={address}: no metrics in this run: ")
    assert "Address already in use" in warning.getMessage()


def test_a_missing_library_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with (
        caplog.at_level(logging.WARNING, logger="flwr"),
        metrics(config(), "1", {"FEDSIEVE_METRICS": "0"}) as listeners,
    ):
        assert listeners == []
    assert "no metrics in this run" in caplog.text
