"""The file that a health check reads is there, and young, exactly while the SuperLink answers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest

from transport.link import Pulse, patience


class Away(grpc.RpcError, grpc.Call):  # type: ignore[misc]
    """What a call raises when there is nobody, or when it is refused."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "no"


for name in getattr(grpc.Call, "__abstractmethods__", set()):  # only code and details are asked
    if name not in Away.__dict__:
        setattr(Away, name, lambda self, *given: None)
Away.__abstractmethods__ = frozenset()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ready"


def test_it_is_touched_once_a_second_and_no_more(file: Path) -> None:
    now = 100.0
    pulse = Pulse(file, lambda: now)
    pulse.beat()
    os.utime(file, (0, 0))
    now = 100.9
    pulse.beat()
    assert file.stat().st_mtime == 0
    now = 101.0
    pulse.beat()
    assert file.stat().st_mtime > 0


def test_it_goes_when_the_connection_does_and_is_back_at_once(file: Path) -> None:
    pulse = Pulse(file, lambda: 5.0)
    pulse.lost()
    pulse.beat()
    assert file.exists()
    pulse.lost()
    assert not file.exists()
    pulse.beat()
    assert file.exists()


def test_without_a_file_it_does_nothing() -> None:
    pulse = Pulse()
    pulse.beat()
    pulse.lost()


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pulse = Pulse(tmp_path / "none" / "ready", lambda: 5.0)
    for _ in range(3):
        pulse.lost()
        pulse.beat()
    assert len(caplog.records) == 1
    assert "No such file or directory" in caplog.text


def calls(*results: grpc.StatusCode | None, before: Callable[[], None]) -> Callable[[], str]:
    """A remote call that fails with each status in turn, and succeeds at None."""
    left = list(results)

    def call() -> str:
        before()
        if (code := left.pop(0)) is not None:
            raise Away(code)
        return "answer"

    return call


def test_calls_that_fail_remove_it_and_the_next_success_brings_it_back(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    seen: list[bool] = []
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", lambda _: None)
    invoker: Any = patience(stop, threading.Event(), Pulse(file, iter(range(0, 1000, 5)).__next__))
    away = grpc.StatusCode.UNAVAILABLE
    assert invoker.invoke(calls(None, before=lambda: None)) == "answer"
    assert invoker.invoke(calls(away, away, None, before=lambda: seen.append(file.exists()))) == "answer"
    assert seen == [True, False, False]
    assert file.exists()
    assert [r.getMessage() for r in caplog.records] == [
        "the SuperLink cannot be reached (no); waiting for it",
        "the SuperLink is back",
    ]


def test_a_refusal_removes_it(file: Path) -> None:
    broken = threading.Event()
    invoker: Any = patience(threading.Event(), broken, Pulse(file))
    invoker.invoke(calls(None, before=lambda: None))
    assert file.exists()
    with pytest.raises(Away):
        invoker.invoke(calls(grpc.StatusCode.UNAUTHENTICATED, before=lambda: None))
    assert broken.is_set()
    assert not file.exists()
