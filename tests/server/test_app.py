"""The ServerApp, as ``flwr run`` starts it, and what it says."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from flwr.app import Context, RecordDict

from client.app import app as client_app
from common.errors import ConfigError
from common.settings import Scalar, to_flat
from emulation.local_grid import LocalGrid
from server.app import app, complete
from server.records.progress import LogProgress
from server.records.protocol_line import protocol
from server.records.report import Evaluation, RoundReport
from server.records.traffic import content_bytes
from server.round.state import ServerState
from tests.server.federation import config, model, node, run, same_model


def start(out: Path, *overrides: str, **more: Scalar) -> None:
    flat: dict[str, Scalar] = {**to_flat(config(*overrides), secret=True), "out": str(out), **more}
    app(LocalGrid(client_app, [node()]), Context(1, 0, {}, RecordDict(), flat))


def test_the_server_app_runs_the_settings_of_its_run_config(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="flwr"):
        start(tmp_path / "app")
    run(config(), tmp_path / "direct")
    assert same_model(tmp_path / "app", tmp_path / "direct")
    summary = json.loads((tmp_path / "app" / "summary.json").read_text())
    said = caplog.text
    assert f"finished: test HR@10 {summary['test']['hr@10']:.4f}" in said
    assert f"ER@10 {summary['er@10']:.4f}; {summary['seconds']:.0f} s, " in said
    assert f" s of them evaluation; results in {tmp_path / 'app'}" in said
    assert 0 < summary["seconds_evaluation"] < summary["seconds"]
    assert "round 4 of 4: " in said
    assert "round 2 valid: HR@10" in said


def test_the_server_app_resumes(tmp_path: Path) -> None:
    start(tmp_path, resume=True)  # nothing there yet: it begins
    kept = model(tmp_path)["encoder"]
    (tmp_path / "summary.json").unlink()
    start(tmp_path, resume=True)
    assert (tmp_path / "summary.json").exists()
    assert bool((model(tmp_path)["encoder"] == kept).all())


def test_unknown_settings_of_the_run_config_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown setting train\.round: did you mean 'train\.rounds'"):
        start(tmp_path, **{"train.round": 3})


@pytest.mark.parametrize(("size", "told"), [("3", 1), ("auto", 0)])
def test_a_slice_that_leaves_most_devices_idle_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: str, told: int
) -> None:
    with caplog.at_level(logging.WARNING, logger="flwr"):
        start(tmp_path / "app", f"train.slice_size={size}")
    said = [record.getMessage() for record in caplog.records if "no next item" in record.getMessage()]
    assert len(said) == told
    figures = [json.loads(line) for line in (tmp_path / "app" / "metrics.jsonl").read_text().splitlines()]
    for one in figures:
        if "asked" in one:
            assert one["idle"] + one["admitted"] == one["asked"]
    if told:
        assert "among the 3 of " in said[0]
        assert "train.slice_size, or auto" in said[0]


def progress(round_: int, skipped: bool = False) -> RoundReport:
    return RoundReport(round_, {"asked": 8.0, "admitted": 5.0}, why="too few" if skipped else "")


def test_progress_is_told_ten_times_and_when_a_round_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    listener = LogProgress(50)
    state: ServerState = None  # type: ignore[assignment]  # not looked at
    with caplog.at_level(logging.INFO, logger="flwr"):
        for round_ in range(1, 51):
            listener.on_round(progress(round_, skipped=round_ == 7), state)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 11
    assert said[0].startswith("round 5 of 50: 5 of 8 devices admitted, about ")
    assert said[1].startswith("round 7 of 50: 5 of 8 devices admitted (skipped), about ")
    assert said[-1].endswith("about 0 s left")


def test_time_left_counts_from_where_a_resumed_run_began(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("server.records.progress.time.monotonic", lambda: now)
    listener = LogProgress(100)
    state: ServerState = None  # type: ignore[assignment]
    with caplog.at_level(logging.INFO, logger="flwr"):
        for round_ in range(81, 91):
            now += 2.0
            listener.on_round(progress(round_), state)
    assert caplog.records[-1].getMessage().endswith("about 20 s left")  # 10 rounds of 2 s


def test_evaluations_are_told(caplog: pytest.LogCaptureFixture) -> None:
    found = Evaluation(7, "valid", {"all": {"hr@10": 0.25, "ndcg@10": 0.125}}, {}, 12)
    with caplog.at_level(logging.INFO, logger="flwr"):
        LogProgress(10).on_evaluation(found)
    assert "round 7 valid: HR@10 0.2500 NDCG@10 0.1250 over 12 devices" in caplog.text


def test_the_protocol_is_one_line() -> None:
    text = protocol(config("train.negatives=device", "train.local_steps=3", "train.loss=bce"))
    assert "negatives device" in text
    few = protocol(config("train.rounds=1", "train.devices_per_round=1", "strategy.aggregator=mean"))
    assert "; 1 round x 1 device, " in few
    assert "3 local step(s), bce loss, block_adam 0.004" in text
    assert "\n" not in text


def test_bytes_are_those_of_the_arrays() -> None:
    import numpy as np
    from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message

    from common.wire.salt import SALT

    content = RecordDict(
        {
            "a": ArrayRecord({"x": Array("float32", (2, 3), "raw", bytes(24 + SALT))}),
            "b": ArrayRecord({"y": Array(np.zeros(1))}),
            "c": ConfigRecord({"text": "not counted"}),
        }
    )
    message = Message(content, 1, "train")
    assert content_bytes(message) == 24 + len(Array(np.zeros(1)).data)
    assert content_bytes(Message(Error(code=0, reason="x" * 50), reply_to=message)) == 0


def test_a_finished_run_is_handed_to_what_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given: list[Path] = []
    monkeypatch.setitem(sys.modules, "of_the_operator", SimpleNamespace(write=given.append))
    complete(tmp_path)
    assert given == []
    monkeypatch.setenv("FEDSIEVE_REPORT", "of_the_operator:write")
    complete(tmp_path)
    assert given == [tmp_path]
    monkeypatch.setenv("FEDSIEVE_REPORT", "of_nobody:write")
    with caplog.at_level(logging.WARNING, logger="flwr"):
        complete(tmp_path)  # a run without a page is whole
    assert "no report.html" in caplog.text
    assert f"fedsieve report {tmp_path}" in caplog.text
