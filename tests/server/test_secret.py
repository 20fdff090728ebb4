"""The server's key: where it is, and where it must never be."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import torch
from flwr.app import Context, Message

from client.app import app as client_app
from common.seeding import Key, generator
from emulation.local_grid import LocalGrid
from server.records.checkpoint import FILE
from server.records.report import RoundReport
from server.round import drawing, evidence, pipeline
from server.round.state import KEY_BYTES, server_key
from tests.server.federation import Watch, config, node, run, same_model


def test_a_run_without_a_secret_has_a_key_of_its_own() -> None:
    settings = config("strategy.secret=''")
    keys = {server_key(settings) for _ in range(5)}
    assert len(keys) == 5
    assert {len(key) for key in keys} == {KEY_BYTES}


def test_a_secret_makes_a_run_repeatable_and_each_seed_has_its_own_key() -> None:
    assert server_key(config()) == server_key(config())
    others = [server_key(config(*changes)) for changes in (("seed=1",), ("strategy.secret=b",))]
    assert len({server_key(config()), *others}) == 3


def forms(key: bytes) -> list[bytes]:
    """How a key might be written down."""
    listed = str(list(key))[1:-1].encode()
    return [key, key.hex().encode(), base64.b64encode(key), listed, repr(key)[2:-1].encode()]


def test_the_key_is_in_the_checkpoint_and_nowhere_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every file of a run, every byte that a node is sent, all that is logged or printed."""
    settings, sent = config("strategy.aggregator=sieve", "train.rounds=3"), list[bytes]()

    def app(message: Message, context: Context) -> Message:
        for record in message.content.values():
            sent.append(repr(record).encode())
            sent.extend(getattr(array, "data", b"") for array in record.values())
        return client_app(message, context)

    caplog.set_level(0)
    run(settings, tmp_path, grid=LocalGrid(app, [node()]))
    key = server_key(settings)
    told = {
        "messages": b"\n".join(sent),
        "log": caplog.text.encode(),
        "terminal": str(capfd.readouterr()).encode(),
    }
    told |= {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert len(told["messages"]) > 10_000
    found = {place for place, text in told.items() if any(form in text for form in forms(key))}
    assert found == {f"state/{FILE}"}
    assert not any(b"strategy.secret" in text or b"secret: a" in text for text in told.values())


def test_only_its_owner_can_read_a_checkpoint(tmp_path: Path) -> None:
    run(config("train.rounds=2"), tmp_path)
    assert (tmp_path / "state" / FILE).stat().st_mode & 0o077 == 0


def test_a_resumed_run_goes_on_with_the_key_of_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config("strategy.secret=''", "train.rounds=4", "checkpoint_every=2")
    monkeypatch.setattr("server.round.pipeline.server_key", lambda config: b"first" * 6)
    run(settings, tmp_path / "whole")
    watch = Watch(fail=lambda report: isinstance(report, RoundReport) and report.round == 3)
    with pytest.raises(InterruptedError):
        run(settings, tmp_path / "cut", listeners=[watch])
    monkeypatch.setattr("server.round.pipeline.server_key", lambda config: b"other" * 6)
    run(settings, tmp_path / "cut", resume=True)
    assert same_model(tmp_path / "cut", tmp_path / "whole")


def test_a_run_is_not_repeatable_by_its_seed_alone(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(config("strategy.secret=''"), tmp_path / name)
    assert not same_model(tmp_path / "one", tmp_path / "two")


def test_every_draw_of_the_server_comes_from_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """But for the first model, which all are sent and which is no secret."""
    drawn = set[tuple[bool, object]]()

    def watched(key: Key, *path: int | str) -> torch.Generator:
        drawn.add((key == b"k" * 32, path[0]))
        return generator(key, *path)

    for module in (pipeline, evidence, drawing):
        monkeypatch.setattr(module, "generator", watched)
    monkeypatch.setattr(pipeline, "server_key", lambda config: b"k" * 32)
    run(config("strategy.aggregator=sieve", "strategy.constraints=[exposure_cap]"), tmp_path)
    kinds = ("slice", "devices", "aggregator", "probes", "witness")
    assert drawn == {(False, "model"), *((True, kind) for kind in kinds)}
