"""A node that speaks the Fleet API by hand and sends what it likes. For tests on 127.0.0.1 alone."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc  # type: ignore[import-untyped]
from flwr.app import Message, RecordDict
from flwr.app.message.message import remove_content_from_message
from flwr.client.grpc_rere_client.node_auth_client_interceptor import NodeAuthClientInterceptor
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto import fleet_pb2 as fleet
from flwr.proto.fleet_pb2_grpc import FleetStub
from flwr.proto.message_pb2 import ObjectTree, PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.interceptors import RuntimeVersionClientInterceptor
from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes

HEARTBEAT_S = 120.0
Tree = tuple[ObjectTree, dict[str, bytes]]


class HostileNode:
    """Registered and connected; :meth:`serve` answers honestly but for what a test sends itself."""

    def __init__(self, address: str, compression: grpc.Compression | None = None) -> None:
        keys = generate_key_pairs()
        self.key = public_key_to_bytes(keys[1])
        room = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options=room, compression=compression)
        interceptors = (RuntimeVersionClientInterceptor("SuperNode"), NodeAuthClientInterceptor(*keys))
        self.stub: Any = FleetStub(grpc.intercept_channel(self._channel, *interceptors))
        self.stub.RegisterNode(fleet.RegisterNodeFleetRequest(public_key=self.key))
        start = fleet.ActivateNodeRequest(public_key=self.key, heartbeat_interval=HEARTBEAT_S)
        self.id: int = self.stub.ActivateNode(start).node_id
        self.node = Node(node_id=self.id)
        self.refused: list[str] = []

    def close(self) -> None:
        self._channel.close()

    def pull(self) -> Message | None:
        answer = self.stub.PullMessages(fleet.PullMessagesRequest(node=self.node))
        if not answer.messages_list:
            return None
        head, tree = message_from_proto(answer.messages_list[0]), answer.message_object_trees[0]
        contents: dict[str, bytes] = {}
        todo = [tree]
        while todo:
            part = todo.pop()
            todo += part.children
            request = PullObjectRequest(node=self.node, run_id=head.metadata.run_id, object_id=part.object_id)
            while part.object_id not in contents:
                found = self.stub.PullObject(request)
                if found.object_available:
                    contents[part.object_id] = found.object_content
                else:
                    time.sleep(0.02)
        message = inflate_object_from_contents(tree.object_id, contents)
        assert isinstance(message, Message)
        message.metadata.__dict__["_message_id"] = tree.object_id
        return message

    def push(self, reply: Message, tree: ObjectTree, contents: dict[str, bytes]) -> None:
        """Announce a reply with this tree, and upload these objects."""
        reply.metadata.__dict__["_message_id"] = tree.object_id
        head = remove_content_from_message(reply) if reply.has_content() else reply
        answer = self.stub.PushMessages(
            fleet.PushMessagesRequest(
                node=self.node,
                messages_list=[message_to_proto(head)],
                message_object_trees=[tree],
                clientapp_runtime_list=[0.1],
            )
        )
        for name, content in contents.items():
            request = PushObjectRequest(
                node=self.node,
                run_id=reply.metadata.run_id,
                session_id=answer.session_id,
                object_id=name,
                object_content=content,
            )
            self.stub.PushObject(request)

    def honest(self, reply: Message) -> None:
        """Send what a node's app returned."""
        reply.metadata.__dict__["_message_id"] = reply.object_id
        objects = get_all_nested_objects(reply)
        self.push(reply, get_object_tree(reply), {name: found.deflate() for name, found in objects.items()})

    def turn(self, answer: Callable[[Message], None]) -> bool:
        """Give the next message to ``answer``; False where there is none. ``refused`` grows by what is."""
        with suppress(grpc.RpcError):
            message = self.pull()
            if message is None:
                return False
            try:
                answer(message)
            except grpc.RpcError as error:
                self.refused.append(f"{error.code().name} {error.details()}")
        return True

    def serve(self, answer: Callable[[Message], None], going: Callable[[], bool]) -> list[str]:
        """Give every message to ``answer`` while ``going``; what the SuperLink refused, in its own words."""
        while going():
            if not self.turn(answer):
                time.sleep(0.05)
        return self.refused


def packed(kind: str, children: list[str], body: bytes) -> bytes:
    """An object as Flower lays it out."""
    return f"{kind} {','.join(children)} {len(body)}".encode() + b"\x00" + body


def number(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def random_number() -> str:
    return number(os.urandom(16))


def around(reply: Message, record: bytes, tree: ObjectTree) -> Tree:
    """The message around a RecordDict, and its tree."""
    body = reply.deflate().partition(b"\x00")[2]
    top = packed("Message", [number(record)], body)
    return ObjectTree(object_id=number(top), children=[tree]), {number(top): top}


def one_array(reply: Message, chunk_bytes: int, times: int) -> Tree:
    """A reply with one chunk of zeros that its array names so many times."""
    chunk = packed("ArrayChunk", [], bytes(chunk_bytes))
    text = {"dtype": "float32", "shape": [1], "stype": "raw", "arraychunk_ids": [0] * times}
    array = packed("Array", [number(chunk)], json.dumps(text).encode())
    arrays = packed("ArrayRecord", [number(array)], json.dumps({"x": number(array)}).encode())
    record = packed("RecordDict", [number(arrays)], json.dumps({"arrays": number(arrays)}).encode())
    tree = ObjectTree(object_id=number(chunk))
    for content in (array, arrays, record):
        tree = ObjectTree(object_id=number(content), children=[tree])
    top, contents = around(reply, record, tree)
    return top, contents | {number(c): c for c in (record, arrays, array, chunk)}


def laughing(depth: int) -> ObjectTree:
    """2^depth objects in a small tree: each level names the one below twice, once without its parts."""
    tree = ObjectTree(object_id=random_number())
    for _ in range(depth):
        twin = ObjectTree(object_id=tree.object_id)
        tree = ObjectTree(object_id=random_number(), children=[tree, twin])
    return tree


def wide(reply: Message, width: int) -> Tree:
    """A tree that names so many objects, none of which ever comes."""
    leaves = [ObjectTree(object_id=random_number()) for _ in range(width)]
    record = packed("RecordDict", [], b"{}")
    return around(reply, record, ObjectTree(object_id=number(record), children=leaves))


def empty(message: Message) -> Message:
    return Message(RecordDict(), reply_to=message)
