"""A run's settings are checked before they leave, each run has a folder of its own, errors are one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from flwr.proto.control_pb2 import StreamLogsResponse
from grpc import RpcError, StatusCode  # type: ignore[import-untyped]
from typer.testing import CliRunner

from common.errors import ConfigError, FedSieveError, RunError
from common.settings import from_flat, load
from experiments import deploy_cli, deployed
from experiments.flower_config import defaults
from experiments.submit import check, one_line, run_config
from transport import control, runs

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern")  # of a library of Flower's
app = typer.Typer()
deploy_cli.register(app)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("strategy.aggregator=krumm", "did you mean 'krum'"),
        ("strategy.optimizer=adamm", "did you mean 'adam'"),
        ("train.roundz=3", "train.rounds"),
        ("train.rounds=many", "train.rounds"),
        ("strategy.byzantine=500", "strategy.byzantine"),
        ("strategy.aggregator=fltrust", "strategy.trusted_nodes"),
        ("attack.name=label_to_targett", "did you mean 'label_to_target'"),
        ("model.name=sasrek", "did you mean 'sasrec'"),
    ],
)
def test_wrong_settings_do_not_leave(override: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "control_stub", lambda *_: pytest.fail("it went to the server"))
    with pytest.raises(FedSieveError) as caught:
        CliRunner().invoke(app, ["submit", "--insecure", "--set", override], catch_exceptions=False)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--insecure", "--control", "localhost"], "--control 'localhost': no port; .*localhost:9093"),
        (["--insecure", "--control", "https://h:1"], "leave out https://"),
        ([], "either --root-certificates"),
        (["--root-certificates", "nowhere.pem"], "--root-certificates nowhere.pem: No such file"),
        (["--insecure", "--resume"], "--resume needs --out"),
    ],
)
def test_wrong_options_do_not_leave(options: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        CliRunner().invoke(app, ["submit", *options], catch_exceptions=False)


def test_full_knowledge_is_for_one_process() -> None:
    settings = load(overrides=["attack.name=alie", "attack.share=0.2", "attack.knowledge=full"])
    with pytest.raises(ConfigError, match="knowledge: full is for `fedsieve run` alone"):
        check(settings)


def test_a_given_folder_is_kept_and_two_runs_without_one_never_share() -> None:
    settings = load(overrides=["data.path=shards/catalogue.parquet"])
    assert len({run_config(settings, "", False)["out"] for _ in range(20)}) == 20
    assert run_config(settings, "mine", True)["out"] == "mine"
    assert run_config(settings, "mine", True)["resume"] is True


def test_what_is_sent_is_what_the_app_lists_and_reads_back_the_same() -> None:
    settings = load(overrides=["train.rounds=3", "eval.targets=[5]"])
    sent = run_config(settings, "", False)
    assert sent.keys() == defaults().keys()
    assert from_flat({k: v for k, v in sent.items() if k not in ("out", "resume")}) == settings


class Broken(RpcError):  # type: ignore[misc]
    def __init__(self, code: StatusCode) -> None:
        self._code = code

    def code(self) -> StatusCode:
        return self._code

    def details(self) -> str:
        return "first\nsecond"


class Stub:
    """A Control API that takes every run and whose log is ``parts``, cut where an error stands."""

    def __init__(self, parts: list[Any], how: str = "completed", why: str = "") -> None:
        self.parts, self.status = parts, SimpleNamespace(status="finished", sub_status=how, details=why)
        self.asked: list[Any] = []

    def StartRun(self, request: Any) -> Any:  # noqa: N802
        self.asked.append(request)
        return SimpleNamespace(HasField=lambda _: True, run_id=7)

    def StreamLogs(self, request: Any, timeout: float) -> Iterator[Any]:  # noqa: N802
        while self.parts:
            part = self.parts.pop(0)
            if isinstance(part, Exception):
                raise part
            yield StreamLogsResponse(log_output=part, latest_timestamp=1.0)

    def ListRuns(self, request: Any) -> Any:  # noqa: N802
        return SimpleNamespace(run_dict={7: SimpleNamespace(status=self.status)})


def submitted(stub: Stub, monkeypatch: pytest.MonkeyPatch, whole: bool = False) -> str:
    """What the command says; unless ``whole`` without the app, which takes a while to pack."""

    @contextmanager
    def connected(*_: object) -> Iterator[Stub]:
        yield stub

    monkeypatch.setattr(control, "control_stub", connected)
    if not whole:
        monkeypatch.setattr(runs, "start", lambda *_: 7)
        monkeypatch.setattr(deployed, "stage", lambda folder: folder)
    done = CliRunner().invoke(
        app, ["submit", "--insecure", "--set", "train.rounds=2"], catch_exceptions=False
    )
    assert done.exit_code == 0
    return done.output


def test_a_run_is_followed_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "AGAIN_S", 0.0)
    stub = Stub(["one\ntw", "o\n", Broken(StatusCode.DEADLINE_EXCEEDED), "three\n"])
    first, *lines = submitted(stub, monkeypatch, whole=True).splitlines()
    assert first.startswith("run 7: results in runs/ml-100k-")
    assert lines == ["one", "two", "three"]
    (request,) = stub.asked
    assert request.override_config["train.rounds"].sint64 == 2
    assert len(request.fab.content) > 1000


@pytest.mark.parametrize(
    ("how", "why", "told"),
    [
        ("failed", "ServerApp raised:\nRunError: nobody trained", "run 7 failed: RunError: nobody trained"),
        ("stopped", "", "run 7 stopped: the SuperLink says no reason"),
    ],
)
def test_a_run_that_fails_is_an_error_of_one_line(
    how: str, why: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = Stub(
        ["ERROR :     ServerApp raised\n    | Traceback (most recent call last)\n    |   at\n"], how, why
    )
    shown: list[str] = []
    monkeypatch.setattr(typer, "echo", lambda text, **_: shown.append(str(text)))
    with pytest.raises(RunError) as caught:
        submitted(stub, monkeypatch)
    assert str(caught.value) == told
    assert shown[1:] == ["ERROR :     ServerApp raised"]


@pytest.mark.parametrize("code", [StatusCode.UNAVAILABLE, StatusCode.NOT_FOUND])
def test_a_log_that_breaks_off_is_an_error_of_one_line(
    code: StatusCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="^the log of run 7 broke off: "):
        submitted(Stub([Broken(code)]), monkeypatch)


def test_the_last_line_of_a_trace_is_the_error() -> None:
    assert one_line("Traceback\n  x\nE: why\n\n") == "E: why"
