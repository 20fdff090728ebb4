"""Replies as a SuperLink hands them out: a tree of object names, and contents that are any bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from flwr.app import Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ObjectTree
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from hypothesis import strategies as st

from common import wire
from tests.common.wire import samples
from tests.common.wire.mutations import BYTES
from tests.common.wire.samples import ROUND
from tests.common.wire.samples import RUN as NAME
from tests.transport.test_grpc_pull import RUN, Stub, pull_for
from transport.grpc_pull import TRIES

KINDS = (
    "Message",
    "RecordDict",
    "ArrayRecord",
    "Array",
    "ArrayChunk",
    "ConfigRecord",
    "MetricRecord",
    "x",
    "",
)
NUMBER = "m11"


@dataclass(frozen=True)
class PulledReply:
    """The claim, its tree, and its contents; None: not there yet."""

    message: Message
    tree: ObjectTree
    contents: dict[str, bytes | None]

    @property
    def size(self) -> int:
        return int(self.tree.ByteSize()) + sum(len(c or b"") for c in self.contents.values())


class OddStub(Stub):
    """A SuperLink that took whatever tree the sender gave it."""

    def __init__(self, case: PulledReply) -> None:
        super().__init__()
        self.case, self.contents = case, dict(case.contents)

    def PullMessages(self, request: Any, timeout: float) -> Any:  # noqa: N802
        bare = message_to_proto(remove_content_from_message(self.case.message))
        return SimpleNamespace(messages_list=[bare], message_object_trees=[self.case.tree])


def take(case: PulledReply) -> list[Message]:
    """Pull until there is a reply, or no more patience."""
    pull = pull_for(OddStub(case), 1 << 25)
    for _ in range(TRIES):
        found = pull([NUMBER])
        if found:
            assert len(found) == 1
            return found
    return []


def honest() -> tuple[Message, dict[str, bytes | None]]:
    """Updates as a reply to ``m11``, and its objects."""
    task = Message(RecordDict(), 11, "train")
    task.metadata.__dict__.update(_run_id=RUN, _src_node_id=1, _message_id=NUMBER)
    message = Message(wire.encode_updates(samples.updates(), NAME, ROUND), reply_to=task)
    message.metadata.__dict__["_message_id"] = message.object_id
    return message, {k: v.deflate() for k, v in get_all_nested_objects(message).items()}


@st.composite
def bodies(draw: st.DrawFn, names: list[str], old: bytes) -> bytes | None:
    """Another content for an object that was ``old``."""
    kind = draw(st.sampled_from(["junk", "cut", "flip", "gone", "head", "array", "big"]))
    if kind == "junk":
        return draw(BYTES)
    if kind == "cut":
        return old[: draw(st.integers(0, len(old)))]
    if kind == "flip" and old:
        place = draw(st.integers(0, len(old) - 1))
        return old[:place] + bytes([old[place] ^ draw(st.integers(1, 255))]) + old[place + 1 :]
    if kind == "gone":
        return None
    children = draw(st.lists(st.sampled_from(names) | st.text("0123456789abcdef", max_size=70), max_size=4))
    body = old.partition(b"\0")[2]
    if kind == "big":
        return sealed("ArrayChunk", [], b"\0" * draw(st.sampled_from([2**10, 2**16, 2**20])))
    if kind == "array":
        repeats = [0] * draw(st.sampled_from([0, 1, 2, 50, 300, 100_000]))
        places: Any = draw(st.just(repeats) | st.lists(st.integers(-2, 5), max_size=5) | st.just("x"))
        shape: Any = draw(st.just([1]) | st.lists(st.integers(), max_size=3))
        meta = {"dtype": "float32", "shape": shape, "stype": "raw", "arraychunk_ids": places}
        return sealed("Array", children, json.dumps(meta).encode())
    return sealed(draw(st.sampled_from(KINDS)), children, body)


def sealed(kind: str, children: list[str], body: bytes) -> bytes:
    """An object as Flower writes it: its head, a zero, its body."""
    return f"{kind} {','.join(children)} {len(body)}".encode() + b"\0" + body


def planted(draw: st.DrawFn, contents: dict[str, bytes | None]) -> None:
    """One chunk, named by an array that is where it belongs: the longest way through Flower's decoder."""
    array = draw(st.sampled_from([k for k, v in contents.items() if v and v.startswith(b"Array ")]))
    chunk = (contents[array] or b"").split(b" ", 2)[1].decode().split(",")[0]
    if chunk not in contents:
        return
    contents[chunk] = sealed("ArrayChunk", [], b"\0" * draw(st.sampled_from([2**10, 2**20])))
    places = [0] * draw(st.sampled_from([1, 2, 50, 300]))
    meta = {"dtype": "float32", "shape": [1], "stype": "raw", "arraychunk_ids": places}
    contents[array] = sealed("Array", [chunk], json.dumps(meta).encode())


@st.composite
def trees(draw: st.DrawFn, tree: ObjectTree, names: list[str]) -> ObjectTree:
    """The tree as it is, or with branches that repeat, go deep or wide, or name what does not exist."""
    kind = draw(st.sampled_from(["same", "same", "wide", "deep", "again", "bare"]))
    result = ObjectTree()
    result.CopyFrom(tree)
    name = draw(st.sampled_from(names) | st.text(max_size=5))
    if kind == "bare":
        return ObjectTree(object_id=name)
    if kind == "wide":
        result.children.extend(ObjectTree(object_id=f"{name}{i % 700}") for i in range(2000))
    elif kind == "again":
        result.children.extend([tree] * draw(st.integers(1, 5)))
    elif kind == "deep":
        end = result
        for _ in range(draw(st.sampled_from([5, 90]))):  # protobuf itself stops at a hundred
            end = end.children.add(object_id=name)
    return result


@st.composite
def pulled_replies(draw: st.DrawFn) -> PulledReply:
    """An honest reply of which some objects, and perhaps the tree, are another's."""
    message, contents = honest()
    names = list(contents)
    if draw(st.booleans()):
        planted(draw, contents)
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(names))
        contents[name] = draw(bodies(names, contents[name] or b""))
    return PulledReply(message, draw(trees(get_object_tree(message), names)), contents)
