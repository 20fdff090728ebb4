"""Pull replies from a SuperLink so that no node can hold up or lose the others' (Flower 1.34).

The SuperLink hands a reply out once and forgets it. Flower's own ``pull_messages`` then waits for the
objects of each reply in turn, up to two hours, and raises if one does not decode: with it go all the
replies of that call. Here a claimed reply is kept until its objects are there, nothing is waited for,
and what cannot be read costs its sender alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from flwr.app import Error, Message, Metadata
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
    pull_objects,
)
from flwr.superlink.grid.grpc_grid import GrpcGrid
from grpc import RpcError  # type: ignore[import-untyped]

_LOG = logging.getLogger(__name__)
TRIES = 6


def puller(grid: Grid, max_reply_bytes: int) -> Callable[[list[str]], Iterable[Message]]:
    """How to pull from this grid: Flower's own way unless it talks gRPC."""
    return GrpcPull(grid, max_reply_bytes) if isinstance(grid, GrpcGrid) else grid.pull_messages


class UnreadableError(Exception):
    """A reply that will never become a message."""


@dataclass
class _Claim:
    metadata: Metadata
    tree: ObjectTree
    contents: dict[str, bytes] = field(default_factory=dict)
    size: int = 0
    failures: int = 0


class GrpcPull:
    """Call it with message ids: the replies that are complete. Keeps what it has claimed between calls."""

    def __init__(self, grid: GrpcGrid, max_reply_bytes: int) -> None:
        self._grid, self._limit = grid, max_reply_bytes
        self._claims: dict[str, _Claim] = {}

    def __call__(self, ids: list[str]) -> list[Message]:
        wanted = [i for i in ids if i not in self._claims]
        if wanted:
            answer = self._grid._stub.PullMessages(PullAppMessagesRequest(message_ids=wanted))
            for proto, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
                metadata = message_from_proto(proto).metadata
                self._claims[metadata.reply_to_message_id] = _Claim(metadata, tree)
        replies = []
        for number in [i for i in ids if i in self._claims]:
            message = self._look(self._claims[number])
            if message is not None:
                self._release(self._claims.pop(number))
                replies.append(message)
        return replies

    def _look(self, claim: _Claim) -> Message | None:
        try:
            return self._complete(claim)
        except UnreadableError as error:
            return _error(claim.metadata, str(error))
        except Exception as error:  # a call that failed: the claim is kept, so that nothing is lost
            claim.failures += 1
            _LOG.warning("pulling a reply failed", exc_info=True)
            return _error(claim.metadata, f"cannot be pulled: {error}") if claim.failures >= TRIES else None

    def _release(self, claim: _Claim) -> None:
        """Let the SuperLink drop the objects; if it does not hear of it, they go with the run."""
        request = ConfirmMessageReceivedRequest(
            node=self._grid.node,
            run_id=self._grid.run.run_id,
            message_object_id=claim.metadata.message_id,
        )
        with suppress(RpcError):
            self._grid._stub.ConfirmMessageReceived(request)

    def _complete(self, claim: _Claim) -> Message | None:
        """The message, or None while some of its objects are on the way."""
        names = list(dict.fromkeys(tree.object_id for tree in iterate_object_tree(claim.tree)))
        missing = [name for name in names if name not in claim.contents]
        if not self._fetch(claim, missing):
            return None
        try:
            message = inflate_object_from_contents(claim.metadata.message_id, claim.contents)
        except Exception as error:  # any byte a stranger sends may end in any exception
            raise UnreadableError(f"the reply does not decode: {type(error).__name__}: {error}") from error
        if not isinstance(message, Message):
            raise UnreadableError(f"the reply is a {type(message).__name__}, not a Message")
        # The body is the sender's word; only the envelope was checked by the SuperLink.
        message.__dict__["_metadata"] = claim.metadata
        return message

    def _fetch(self, claim: _Claim, names: list[str]) -> bool:
        pull = make_pull_object_fn_protobuf(
            self._grid._stub.PullObject, self._grid.node, claim.metadata.run_id
        )
        trouble: list[str] = []

        def take(name: str) -> bytes:
            try:
                claim.contents[name] = content = pull(name)
            except ObjectUnavailableError:
                raise
            except ObjectPullError as error:
                trouble.append(str(error))
                raise
            claim.size += len(content)
            if claim.size > self._limit:
                trouble.append(f"the reply is larger than {self._limit} bytes")
                raise ObjectPullError(name, trouble[-1])
            return b""

        try:
            pull_objects(names, take, max_tries_per_object=1)
        except ObjectPullError:
            if trouble:
                raise UnreadableError(trouble[0]) from None
            return False
        return True


def _error(metadata: Metadata, reason: str) -> Message:
    return make_message(metadata, error=Error(ErrorCode.MESSAGE_UNAVAILABLE, reason))
