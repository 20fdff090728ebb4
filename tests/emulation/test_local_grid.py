"""The grid without a network behaves like the one with it."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.supercore.run import Run

from emulation.local_grid import LocalGrid

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    count = context.state["seen"]["count"] + 1 if "seen" in context.state else 1  # type: ignore[call-overload, index, operator]
    context.state["seen"] = ConfigRecord({"count": count})
    told = {"count": count, "name": context.node_config["name"], "bonus": context.run_config.get("bonus", 0)}
    message.content["asked"]["list"].append(9)  # type: ignore[index, union-attr]
    return Message(RecordDict({"w": message.content["w"], "told": ConfigRecord(told)}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    raise ZeroDivisionError("no data")


@app.query()
def query(message: Message, context: Context) -> Message:
    return "not a message"  # type: ignore[return-value]


def content() -> RecordDict:
    weights = ArrayRecord({"w": Array(np.arange(6, dtype=np.float32).reshape(2, 3))})
    return RecordDict({"w": weights, "asked": ConfigRecord({"list": [1, 2]})})


@pytest.fixture(params=[False, True], ids=["copied", "serialised"])
def grid(request: pytest.FixtureRequest) -> LocalGrid:
    configs = [{"name": "a"}, {"name": "b"}]
    return LocalGrid(app, configs, {"bonus": 3}, run_id=7, serialise=request.param)


def test_node_ids_are_fixed(grid: LocalGrid) -> None:
    assert grid.get_node_ids() == [1, 2]


def test_replies_carry_the_metadata_of_a_network(grid: LocalGrid) -> None:
    sent = [Message(content(), node, "train", group_id="5") for node in (2, 1)]
    replies = grid.send_and_receive(sent, timeout=1)
    assert [r.metadata.src_node_id for r in replies] == [2, 1]
    for message, reply in zip(sent, replies, strict=True):
        assert reply.metadata.reply_to_message_id == message.metadata.message_id != ""
        assert reply.metadata.message_id not in ("", message.metadata.message_id)
        assert reply.metadata.run_id == 7
        assert reply.metadata.group_id == "5"


def test_each_node_has_its_own_context_that_persists(grid: LocalGrid) -> None:
    for count in (1, 2, 3):
        (reply,) = grid.send_and_receive([Message(content(), 2, "train")])
        assert reply.content["told"] == ConfigRecord({"count": count, "name": "b", "bonus": 3})
    assert "seen" not in grid.context(1).state


def test_nothing_is_shared_with_the_caller(grid: LocalGrid) -> None:
    mine = content()
    (reply,) = grid.send_and_receive([Message(mine, 1, "train")])
    assert mine == content()  # the app appended to its own copy
    theirs = reply.content["w"]
    assert theirs == mine["w"]
    assert theirs is not mine["w"]
    del theirs["w"]  # type: ignore[attr-defined]
    assert "w" in mine["w"]  # type: ignore[operator]
    grid.context(1).state["seen"]["count"] = 50  # type: ignore[call-overload]
    assert reply.content["told"]["count"] == 1  # type: ignore[call-overload]


def test_an_exception_becomes_an_error_reply(grid: LocalGrid) -> None:
    (reply,) = grid.send_and_receive([Message(content(), 1, "evaluate")])
    assert not reply.has_content()
    assert reply.error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert reply.error.reason == "ZeroDivisionError: no data"
    (reply,) = grid.send_and_receive([Message(content(), 1, "train")])
    assert reply.has_content()  # the node lives on


def test_what_is_no_message_becomes_an_error_reply(grid: LocalGrid) -> None:
    (reply,) = grid.send_and_receive([Message(content(), 1, "query")])
    assert "str, not a Message" in (reply.error.reason or "")


def test_an_unknown_node_is_unavailable(grid: LocalGrid) -> None:
    (reply,) = grid.send_and_receive([Message(content(), 3, "train")])
    assert reply.error.code == ErrorCode.NODE_UNAVAILABLE


def test_a_message_is_answered_once(grid: LocalGrid) -> None:
    first, second = grid.push_messages([Message(content(), node, "train") for node in (1, 2)])
    assert len(grid.pull_messages([second, second, "unknown"])) == 1
    assert grid.pull_messages([second]) == []
    assert len(grid.pull_messages([first, second])) == 1


def test_the_run_can_be_set_and_not_changed_from_outside(grid: LocalGrid) -> None:
    grid.run.run_id = 99
    assert grid.run.run_id == 7
    assert grid.run.override_config == {"bonus": 3}
    grid.set_run(Run.create_empty(8))
    message = grid.create_message(content(), "train", 1, "1")
    (reply,) = grid.send_and_receive([message])
    assert reply.metadata.run_id == grid.context(1).run_id == 8


def test_both_ways_of_copying_give_equal_content() -> None:
    replies = []
    for serialise in (False, True):
        grid = LocalGrid(app, [{"name": "a"}], serialise=serialise)
        replies += grid.send_and_receive([Message(content(), 1, "train")])
    assert replies[0].content == replies[1].content
    np.testing.assert_array_equal(
        replies[1].content["w"]["w"].numpy(),  # type: ignore[call-overload, union-attr, index]
        np.arange(6, dtype=np.float32).reshape(2, 3),
    )
