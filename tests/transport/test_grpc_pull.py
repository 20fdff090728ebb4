"""Pulling from a SuperLink (its stub faked): nobody's bad reply costs another one."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.run import Run
from flwr.superlink.grid.grpc_grid import GrpcGrid
from grpc import RpcError  # type: ignore[import-untyped]

from emulation.local_grid import LocalGrid
from transport.exchange import exchange
from transport.grpc_pull import (
    GRACE_S,
    MAX_TEXT_BYTES,
    OVERSIZE,
    TRIES,
    GrpcPull,
    OversizeError,
    _names,
    puller,
)
from transport.limits import MAX_DEPTH, MAX_NODES

RUN = 5


def reply(node: int, value: float = 1.0) -> Message:
    """A node's reply to message ``m<node>``, as it would be on its way."""
    task = Message(RecordDict(), node, "train")
    task.metadata.__dict__.update(_run_id=RUN, _src_node_id=1, _message_id=f"m{node}")
    content = RecordDict({"w": ArrayRecord({"w": Array(np.full(4, value, np.float32))})})
    message = Message(content, reply_to=task)
    message.metadata.__dict__["_message_id"] = message.object_id
    return message


class Stub:
    """A SuperLink that hands each reply out once; ``contents`` are the objects that have arrived."""

    def __init__(self, *replies: Message) -> None:
        self.replies = {r.metadata.reply_to_message_id: r for r in replies}
        self.contents: dict[str, bytes | None] = {}
        for message in replies:
            self.contents |= {k: v.deflate() for k, v in get_all_nested_objects(message).items()}
        self.confirmed: list[str] = []
        self.outages = 0

    def PullMessages(self, request: Any, timeout: float) -> Any:  # noqa: N802
        out = [self.replies.pop(i) for i in request.message_ids if i in self.replies]
        return SimpleNamespace(
            messages_list=[message_to_proto(remove_content_from_message(m)) for m in out],
            message_object_trees=[get_object_tree(m) for m in out],
        )

    def PullObject(self, request: Any, timeout: float) -> Any:  # noqa: N802
        if self.outages > 0:
            self.outages -= 1
            raise RpcError("down")
        content = self.contents.get(request.object_id)
        return SimpleNamespace(
            object_found=request.object_id in self.contents,
            object_available=content is not None,
            object_content=content or b"",
        )

    def ConfirmMessageReceived(self, request: Any, timeout: float) -> None:  # noqa: N802
        self.confirmed.append(request.message_object_id)


class StubGrid(GrpcGrid):
    def __init__(self, stub: Stub) -> None:
        super().__init__(insecure=True, token="t")
        self.set_run(Run.create_empty(RUN))
        self.stub = stub

    @property
    def _stub(self) -> Any:
        return self.stub


def pull_for(stub: Stub, limit: int = 10**6) -> GrpcPull:
    return GrpcPull(StubGrid(stub), limit, lambda: 1.0)


def test_complete_replies_are_returned_and_confirmed() -> None:
    one, two = reply(11, 1.0), reply(12, 2.0)
    stub = Stub(one, two)
    got = pull_for(stub)(["m12", "m11", "m13"])
    assert {m.metadata.src_node_id: float(m.content["w"]["w"].numpy()[0]) for m in got} == {11: 1.0, 12: 2.0}  # type: ignore[call-overload, index, union-attr]
    assert sorted(stub.confirmed) == sorted([one.object_id, two.object_id])


def test_a_reply_under_way_holds_up_nobody_and_is_not_lost() -> None:
    slow = reply(11, 9.0)
    stub = Stub(slow, reply(12))
    part = next(iter(slow.content["w"].children))  # type: ignore[call-overload, arg-type, union-attr]
    whole, stub.contents[part] = stub.contents[part], None
    pull = pull_for(stub)
    assert errors(pull(["m11", "m12"])) == {12: False}
    stub.contents[part] = whole
    assert errors(pull(["m11"])) == {11: False}


def test_objects_that_expired_are_an_error_of_that_reply() -> None:
    gone = reply(11, 9.0)
    stub = Stub(gone, reply(12))
    del stub.contents[gone.content.object_id]
    assert errors(pull_for(stub)(["m11", "m12"])) == {11: True, 12: False}


@pytest.mark.parametrize(
    "garbage", [b"", b"\x00", b"Message  3\x00abc", b"RecordDict  4\x00\xff\xff\xff\xff"]
)
def test_an_undecodable_reply_is_an_error_of_that_reply(garbage: bytes) -> None:
    bad = reply(11, 9.0)
    stub = Stub(bad, reply(12))
    stub.contents[bad.content.object_id] = garbage
    assert errors(pull_for(stub)(["m11", "m12"])) == {11: True, 12: False}


def test_a_reply_that_is_no_message_is_an_error() -> None:
    bad = reply(11, 9.0)
    stub = Stub(bad)
    stub.contents[bad.object_id] = RecordDict().deflate()
    (got,) = pull_for(stub)(["m11"])
    assert "not a Message" in (got.error.reason or "")


def test_a_reply_that_is_too_large_is_an_error() -> None:
    got = pull_for(Stub(reply(11)), limit=100)(["m11"])
    assert "larger than 100 bytes" in (got[0].error.reason or "")


def test_the_envelope_counts_and_not_what_the_sender_wrote_inside() -> None:
    liar = reply(11)
    stub = Stub(liar)
    liar.metadata.__dict__["_src_node_id"] = 12
    stub.contents[liar.metadata.message_id] = liar.deflate()
    liar.metadata.__dict__["_src_node_id"] = 11
    (got,) = pull_for(stub)(["m11"])
    assert got.metadata.src_node_id == 11


def test_an_outage_between_claim_and_objects_loses_nothing() -> None:
    stub = Stub(reply(11))
    pull = pull_for(stub)
    stub.outages = 1
    assert pull(["m11"]) == []
    assert errors(pull(["m11"])) == {11: False}


def test_an_outage_that_lasts_becomes_an_error() -> None:
    stub = Stub(reply(11))
    pull = pull_for(stub)
    stub.outages = 10**6
    assert [len(pull(["m11"])) for _ in range(TRIES)] == [0] * (TRIES - 1) + [1]


def test_only_a_network_grid_is_pulled_this_way(monkeypatch: pytest.MonkeyPatch) -> None:
    local = LocalGrid(lambda message, _: message, [])
    assert puller(local, 1, lambda: 1.0) == local.pull_messages
    grid = StubGrid(Stub(reply(11)))
    task = Message(RecordDict(), 11, "train")
    monkeypatch.setattr(grid, "push_messages", lambda messages: ["m11"])
    (got,) = exchange(grid, [task], 1)
    assert got.has_content()


def errors(replies: list[Message]) -> dict[int, bool]:
    return {m.metadata.src_node_id: m.has_error() for m in replies}


def swapped(stub: Stub, message: Message, kind: str, body: bytes) -> None:
    """Give the array of a reply another description, under the number it has."""
    for name, content in stub.contents.items():
        head, _, _ = (content or b"").partition(b"\0")
        if head.startswith(kind.encode() + b" "):
            children = head.split(b" ")[1]
            stub.contents[name] = b"%s %s %d\0%s" % (kind.encode(), children, len(body), body)


def test_a_chunk_counts_as_often_as_it_is_named() -> None:
    bomb = reply(11)
    stub = Stub(bomb, reply(12, 2.0))
    del stub.replies["m12"]
    body = json.dumps({"dtype": "float32", "shape": [4], "stype": "raw", "arraychunk_ids": [0] * 5000})
    swapped(stub, bomb, "Array", body.encode())
    (got,) = pull_for(stub, limit=50_000)(["m11"])
    assert (got.error.code, got.error.reason) == (
        OVERSIZE,
        "the arrays of the reply are larger than 50000 bytes",
    )


def test_what_is_no_array_stays_small() -> None:
    wordy = reply(11)
    stub = Stub(wordy)
    swapped(stub, wordy, "Array", b" " * (MAX_TEXT_BYTES + 1))
    (got,) = pull_for(stub, limit=1 << 30)(["m11"])
    assert got.error.code == OVERSIZE


@pytest.mark.parametrize("shape", ["wide", "deep", "laughing"])
def test_a_tree_is_walked_no_further_than_a_reply_can_be(shape: str) -> None:
    tree = ObjectTree(object_id="0")
    if shape == "wide":
        tree.children.extend(ObjectTree(object_id=str(i)) for i in range(MAX_NODES))
    for i in range({"wide": 0, "deep": MAX_DEPTH, "laughing": 40}[shape]):
        tree = ObjectTree(object_id=str(i + 1), children=[tree, *[tree][: shape == "laughing" and i < 6]])
    with pytest.raises(OversizeError):
        _names(tree)


def test_each_reply_has_the_size_of_its_own_node() -> None:
    pull = GrpcPull(StubGrid(Stub(reply(11), reply(12))), {11: 10**6, 12: 100}, lambda: 1.0)
    assert errors(pull(["m11", "m12"])) == {11: False, 12: True}


def test_nothing_is_pulled_long_after_the_deadline() -> None:
    pull = GrpcPull(StubGrid(Stub(reply(11))), 10**6, lambda: -GRACE_S)
    assert pull(["m11"]) == []
