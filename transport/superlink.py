"""``python -m transport.superlink ARGS``: Flower's SuperLink (1.34) with a guard in front of its Fleet API.

Same arguments as ``flower-superlink``; Control and Runtime API are as they were. Nodes are held to what this
project's nodes send: uncompressed messages of bounded size, replies to what they were asked in their own
name, object trees that are small and mean what they say. All that is Flower's inside is in this file.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from flwr.common.constant import PUBLIC_KEY_HEADER
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
)
from flwr.proto.message_pb2 import ObjectTree, PushObjectRequest, PushObjectResponse
from flwr.server.superlink.fleet.grpc_rere.fleet_servicer import FleetServicer
from flwr.supercore import grpc as flower_grpc
from flwr.supercore.object_store import NoObjectInStoreError, ObjectStore
from flwr.supercore.utils import get_metadata_bytes

from common.errors import ConfigError
from common.logs import coloured_on_terminals_alone, plain_logs
from transport import limits
from transport.flower import need_grpc
from transport.limits import MAX_DEPTH, MAX_NODES, MESSAGE_MB, REPLY_MB

IDENTITY_ONLY = ("grpc.compression_enabled_algorithms_bitset", 1)
"""A few megabytes of gzip may hold gigabytes, and gRPC unpacks before anybody is asked."""

REMEMBERED = 4096
"""Replies under way whose size is counted; those that wait longest are forgotten first."""

Handler = Callable[[Any, grpc.ServicerContext], Any]


class RefusedError(Exception):
    """A request that goes no further; the text is for the node."""


def known(tree: ObjectTree, store: ObjectStore) -> ObjectTree | None:
    """What the store has of this object, or None."""
    try:
        return store.get_object_tree(tree.object_id)
    except NoObjectInStoreError:
        return None


def check_tree(tree: ObjectTree, store: ObjectStore) -> None:
    """Raise RefusedError for a tree that is too wide or deep, or that is not what the store would make of it.

    The store knows an object by its number and keeps the parts that were named first, so that a small tree
    which names a number twice, with parts and without, expands without end. Here a number has the same
    parts wherever it is named, in this tree and in all before it: what is kept is no larger than what came.
    """
    parts: dict[str, list[str]] = {}
    stored: set[str] = set()
    level, count = [tree], 1
    for _ in range(MAX_DEPTH):
        count += sum(len(node.children) for node in level)
        if count > MAX_NODES:
            raise RefusedError(f"a reply of more than {MAX_NODES} objects")
        for node in level:
            named = [child.object_id for child in node.children]
            if parts.setdefault(node.object_id, named) != named:
                raise RefusedError("an object that is named twice with other parts")
            if node.object_id in stored:
                continue
            before = known(node, store)
            if before is not None:
                if before != node:
                    raise RefusedError("an object that is known with other parts")
                stored.update(_numbers(before))
        level = [child for node in level for child in node.children]
        if not level:
            return
    raise RefusedError(f"a reply nested more than {MAX_DEPTH} deep")


def _numbers(tree: ObjectTree) -> list[str]:
    found, todo = [], [tree]
    while todo:
        node = todo.pop()
        found.append(node.object_id)
        todo += node.children
    return found


class Guard(grpc.ServerInterceptor):  # type: ignore[misc]
    """Refuses what no honest node sends. It stands behind Flower's own check of the caller's key.

    reply_bytes: what a node may upload for one reply.
    """

    def __init__(self, store: Callable[[], ObjectStore], reply_bytes: int) -> None:
        self._store, self._reply_bytes = store, reply_bytes
        self._lock = threading.Lock()
        self._latest: OrderedDict[int, str] = OrderedDict()  # node -> the reply it announced last
        self._size: OrderedDict[str, int] = OrderedDict()  # reply -> bytes uploaded

    def intercept_service(
        self, continuation: Callable[[Any], Any], details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Called for each request, before it is read."""
        handler = continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        key = get_metadata_bytes(details.invocation_metadata, PUBLIC_KEY_HEADER)

        def checked(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                return self._pass(request, context, handler.unary_unary, key)
            except RefusedError as refused:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"refused: {refused}")

        return grpc.unary_unary_rpc_method_handler(
            checked,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _pass(self, request: Any, context: grpc.ServicerContext, handle: Handler, key: bytes | None) -> Any:
        if isinstance(request, RegisterNodeFleetRequest | ActivateNodeRequest):
            if request.public_key != key:
                raise RefusedError("a public key that is not the caller's")
        elif isinstance(request, PushMessagesRequest):
            return self._push(request, context, handle)
        elif isinstance(request, PushObjectRequest):
            self._count(request)
            return self._store_again(request, handle(request, context))
        return handle(request, context)

    def _store_again(self, request: PushObjectRequest, answer: PushObjectResponse) -> PushObjectResponse:
        """The answer, which is yes for an object that is here already.

        Flower's own node uploads an object once for each part that names it. Flower refuses the second time,
        and the node gives up on the rest of its reply. Two arrays of equal bytes are enough for that.
        """
        if not answer.stored and self._store().get(request.object_id) == request.object_content != b"":
            answer.stored = True
        return answer

    def _push(self, request: PushMessagesRequest, context: grpc.ServicerContext, handle: Handler) -> Any:
        if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
            raise RefusedError("not one message and one tree of objects")
        sent, tree = request.messages_list[0].metadata, request.message_object_trees[0]
        if not sent.reply_to_message_id or sent.src_node_id != request.node.node_id:
            raise RefusedError("a message that is not the caller's reply")
        if sent.message_id != tree.object_id:
            raise RefusedError("the objects of another message")
        with self._lock:  # what is checked must be what is stored, whoever else stores meanwhile
            check_tree(tree, self._store())
            answer = handle(request, context)
            if answer.objects_to_push:
                self._latest[sent.src_node_id] = sent.message_id
                self._latest.move_to_end(sent.src_node_id)
                while len(self._latest) > REMEMBERED:
                    self._latest.popitem(last=False)
        return answer

    def _count(self, request: PushObjectRequest) -> None:
        with self._lock:
            reply = self._latest.get(request.node.node_id, str(request.node.node_id))
            size = self._size.get(reply, 0) + len(request.object_content)
            if size > self._reply_bytes:
                raise RefusedError(f"a reply of more than {self._reply_bytes} bytes")
            self._size[reply] = size
            self._size.move_to_end(reply)
            while len(self._size) > REMEMBERED:
                self._size.popitem(last=False)


def megabytes(setting: tuple[str, int]) -> int:
    """As in :mod:`transport.limits`, but ends the program for nonsense."""
    try:
        return limits.megabytes(setting)
    except ConfigError as error:
        sys.exit(str(error))


def guarded(servicer_and_add_fn: Any, **options: Any) -> grpc.Server:
    """Flower's own Fleet API server, with the guard as the last interceptor and the two channel arguments."""
    servicer = servicer_and_add_fn[0]
    if not isinstance(servicer, FleetServicer):
        sys.exit("--fleet-api-type: only grpc-rere, because the guard cannot see into other transports")
    guard = Guard(servicer.objectstore_factory.store, megabytes(REPLY_MB))
    options["interceptors"] = [*options.get("interceptors", ()), guard]
    options["max_message_length"] = min(megabytes(MESSAGE_MB), flower_grpc.GRPC_MAX_MESSAGE_LENGTH)
    plain = grpc.server

    def server(*args: Any, **kwargs: Any) -> grpc.Server:
        return plain(*args, **{**kwargs, "options": [*kwargs["options"], IDENTITY_ONLY]})

    grpc.server = server
    try:
        return flower_grpc.generic_create_grpc_server(servicer_and_add_fn, **options)
    finally:
        grpc.server = plain


def main() -> None:
    """Run the SuperLink. Its children are the programs beside this Python, whatever PATH says."""
    try:
        need_grpc("the guard of the SuperLink")  # over HTTP nodes would pass beside it
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program: Any = import_module("flwr.superlink.cli.flower_superlink")  # the package's name is the function
    program.generic_create_grpc_server = guarded
    plain_logs()
    coloured_on_terminals_alone()
    program.flower_superlink()


if __name__ == "__main__":
    main()
