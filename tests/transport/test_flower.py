"""The names of the installed Flower are where they are looked for, and a release over HTTP is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flwr.app import Message, RecordDict

import transport
from client import node
from common.errors import ConfigError
from emulation.local_grid import LocalGrid
from transport import flower, superlink
from transport.exchange import exchange

MODULES = sorted(file.stem for file in Path(transport.__path__[0]).glob("*.py") if file.stem != "__init__")
GRPC = pytest.mark.skipif(not flower.speaks_grpc(), reason=f"Flower {flower.RELEASE} has no gRPC grid")


@pytest.mark.parametrize("name", MODULES)
def test_a_room_that_knows_flower_imports_under_the_installed_release(name: str) -> None:
    assert import_module(f"transport.{name}").__doc__


def test_a_message_reaches_a_node_of_this_process_and_comes_back() -> None:
    grid = LocalGrid(lambda message, context: Message(message.content, reply_to=message), [{}])
    replies = exchange(grid, [Message(RecordDict(), 1, "train")], 5.0)
    assert [reply.metadata.src_node_id for reply in replies] == [1]


@GRPC
def test_a_node_is_connected_with_the_arguments_that_flower_takes() -> None:
    ours = {"root_certificates", "authentication_keys"}
    assert ours <= set(signature(flower.node_connection()).parameters)


@GRPC
def test_the_channel_of_a_connection_can_be_found_and_closed() -> None:
    assert "channel" in flower.node_connection().__wrapped__.__code__.co_varnames


@GRPC
def test_the_grid_of_a_serverapp_is_known_by_its_class() -> None:
    kind = import_module("flwr.superlink.grid.grpc_grid").GrpcGrid
    assert flower.is_grpc(kind.__new__(kind))


@pytest.mark.parametrize(
    ("release", "grpc"),
    [("1.34.0", True), ("1.34.1", True), ("1.35.0", False), ("1.42.0", False), ("2.0.0rc1", False)],
)
def test_gRPC_ends_with_1_34(release: str, grpc: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: N802
    monkeypatch.setattr(flower, "RELEASE", release)
    assert flower.speaks_grpc() is grpc


@pytest.fixture
def over_http(monkeypatch: pytest.MonkeyPatch) -> type[LocalGrid]:
    """Flower 1.42 as far as it is looked at, and its grid."""

    class HttpGrid(LocalGrid):
        def push_messages(self, messages: Iterable[Message]) -> list[str]:
            raise AssertionError("nothing is sent")

    module: Any = ModuleType("flwr.superlink.grid.http_grid")
    HttpGrid.__module__ = module.__name__  # as a class of Flower is
    module.HttpGrid = HttpGrid
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(flower, "RELEASE", "1.42.0")
    return HttpGrid


def test_a_round_over_http_is_refused_before_anything_is_sent(over_http: type[LocalGrid]) -> None:
    grid = over_http(lambda message, context: message, [{}])
    with pytest.raises(ConfigError, match=r"ServerApp .* needs Flower 1\.34 .* given 1\.42\.0"):
        exchange(grid, [Message(RecordDict(), 1, "train")], 5.0)


@pytest.mark.usefixtures("over_http")
def test_a_grid_of_this_process_runs_under_any_release() -> None:
    test_a_message_reaches_a_node_of_this_process_and_comes_back()


@pytest.mark.usefixtures("over_http")
def test_the_guard_does_not_stand_beside_an_open_door(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        superlink.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("the guard of the SuperLink needs Flower 1.34")


@pytest.mark.usefixtures("over_http")
def test_a_warm_node_says_which_release_it_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        node.main(["--superlink", "127.0.0.1:9", "--insecure"])
    assert ended.value.code == 2
    assert "a warm node needs Flower 1.34" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="a warm node"):
        flower.node_connection()


def test_a_process_of_ours_is_task_0_and_one_of_flowers_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class TaskIdentity:
        _task_id: int | None = None
        _run_id: int | None = 7
        _node_id: int | None = None

    module: Any = ModuleType("flwr.supercore.task_identity")
    module.TaskIdentity = TaskIdentity
    monkeypatch.setitem(sys.modules, module.__name__, module)
    flower.be_a_task()
    given: Any = TaskIdentity
    assert (given.task_id, given.node_id) == (0, 0)
    assert not hasattr(given, "run_id")
