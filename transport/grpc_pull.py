"""Pull replies from a SuperLink so that no node can hold up or lose the others' (Flower 1.34).

The SuperLink hands a reply out once and forgets it. Flower's own ``pull_messages`` then waits for the
objects of each reply in turn, up to two hours, and raises if one does not decode: with it go all the
replies of that call. Here a claimed reply is kept until its objects are there, nothing is waited for,
and what cannot be read costs its sender alone. What a reply would take is judged before it is taken.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flwr.app import Error, Message, Metadata
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import (
    get_object_head_values_from_object_content,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
    pull_objects,
)
from grpc import RpcError  # type: ignore[import-untyped]

from common.wire.replies import OVERSIZE
from transport.flower import is_grpc
from transport.limits import MAX_DEPTH, MAX_NODES

if TYPE_CHECKING:
    from flwr.superlink.grid.grpc_grid import GrpcGrid

_LOG = logging.getLogger(__name__)
TRIES = 6
CALL_S = 10.0
"""The longest that one call to the SuperLink may take."""

GRACE_S = 2.0
"""What came in time may be fetched for so long after the deadline."""

MAX_TEXT_BYTES = 1 << 18
"""All that is not a chunk of an array: names, shapes, settings. Decoded, it takes some 36 times as much."""


def puller(
    grid: Grid, limits: int | Mapping[int, int], left: Callable[[], float]
) -> Callable[[list[str]], Iterable[Message]]:
    """How to pull from this grid: Flower's own way unless it talks gRPC.

    limits: bytes that a reply may hold, or node -> bytes. left: seconds until the deadline.
    Raises ConfigError for a grid over HTTP.
    """
    return GrpcPull(grid, limits, left) if is_grpc(grid) else grid.pull_messages


class UnreadableError(Exception):
    """A reply that will never become a message."""

    code: int = ErrorCode.CLIENT_APP_RAISED_EXCEPTION


class OversizeError(UnreadableError):
    """A reply that is larger than what was asked for can be."""

    code = OVERSIZE


@dataclass
class _Claim:
    metadata: Metadata
    tree: ObjectTree
    names: list[str] | None = None
    contents: dict[str, bytes] = field(default_factory=dict)
    size: int = 0
    failures: int = 0


class GrpcPull:
    """Call it with message ids: the replies that are complete. Keeps what it has claimed between calls."""

    def __init__(self, grid: GrpcGrid, limits: int | Mapping[int, int], left: Callable[[], float]) -> None:
        self._grid, self._limits, self._left = grid, limits, left
        self._claims: dict[str, _Claim] = {}

    def __call__(self, ids: list[str]) -> list[Message]:
        wanted = [i for i in ids if i not in self._claims]
        if wanted:
            request = PullAppMessagesRequest(message_ids=wanted)
            answer = self._grid._stub.PullMessages(request, timeout=self._timeout())
            for proto, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
                metadata = message_from_proto(proto).metadata
                self._claims[metadata.reply_to_message_id] = _Claim(metadata, tree)
        replies = []
        for number in [i for i in ids if i in self._claims]:
            if self._left() + GRACE_S <= 0:
                break
            message = self._look(self._claims[number])
            if message is not None:
                self._release(self._claims.pop(number))
                replies.append(message)
        return replies

    def _timeout(self) -> float:
        return min(CALL_S, max(self._left(), 0.0) + GRACE_S)

    def _limit(self, claim: _Claim) -> int:
        limits = self._limits
        return limits if isinstance(limits, int) else limits.get(claim.metadata.src_node_id, MAX_TEXT_BYTES)

    def _look(self, claim: _Claim) -> Message | None:
        try:
            return self._complete(claim)
        except UnreadableError as error:
            return _error(claim.metadata, str(error), error.code)
        except Exception as error:  # a call that failed: the claim is kept, so that nothing is lost
            claim.failures += 1
            _LOG.warning("pulling a reply failed", exc_info=True)
            if claim.failures < TRIES:
                return None
            return _error(claim.metadata, f"cannot be pulled: {error}", UnreadableError.code)

    def _release(self, claim: _Claim) -> None:
        """Let the SuperLink drop the objects; if it does not hear of it, they go with the run."""
        request = ConfirmMessageReceivedRequest(
            node=self._grid.node,
            run_id=self._grid.run.run_id,
            message_object_id=claim.metadata.message_id,
        )
        with suppress(RpcError):
            self._grid._stub.ConfirmMessageReceived(request, timeout=self._timeout())

    def _complete(self, claim: _Claim) -> Message | None:
        """The message, or None while some of its objects are on the way."""
        if claim.names is None:
            claim.names = _names(claim.tree)
        missing = [name for name in claim.names if name not in claim.contents]
        if not self._fetch(claim, missing):
            return None
        _judge(claim.contents, self._limit(claim))
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
        call, limit = self._grid._stub.PullObject, self._limit(claim)
        pull = make_pull_object_fn_protobuf(
            lambda request: call(request, timeout=self._timeout()), self._grid.node, claim.metadata.run_id
        )
        trouble: list[UnreadableError] = []

        def take(name: str) -> bytes:
            try:
                claim.contents[name] = content = pull(name)
            except ObjectUnavailableError:
                raise
            except ObjectPullError as error:
                trouble.append(UnreadableError(str(error)))
                raise
            claim.size += len(content)
            if claim.size > limit:
                trouble.append(OversizeError(f"the reply is larger than {limit} bytes"))
                raise ObjectPullError(name, "oversize")
            return b""

        try:
            pull_objects(names, take, max_tries_per_object=1)
        except ObjectPullError:
            if trouble:
                raise trouble[0] from None
            return False
        return True


def _names(tree: ObjectTree) -> list[str]:
    """The objects of a tree, each once. Raises OversizeError at the first node or level too many."""
    names, level, count = dict[str, None](), [tree], 0
    for _ in range(MAX_DEPTH):
        count += len(level)
        if count > MAX_NODES:
            raise OversizeError(f"the reply has more than {MAX_NODES} objects")
        names.update((node.object_id, None) for node in level)
        if sum(len(node.children) for node in level) > MAX_NODES:
            raise OversizeError(f"the reply has more than {MAX_NODES} objects")
        level = [child for node in level for child in node.children]
        if not level:
            return list(reversed(names))
    raise OversizeError(f"the objects of the reply are nested more than {MAX_DEPTH} deep")


def _judge(contents: Mapping[str, bytes], limit: int) -> None:
    """Raise OversizeError where decoding takes more than ``limit`` bytes: chunks count as often as named."""
    text = inflated = 0
    for content in contents.values():
        try:
            kind, children, _ = get_object_head_values_from_object_content(content)
        except Exception as error:  # any byte a stranger sends may end in any exception
            raise UnreadableError(f"the reply does not decode: {type(error).__name__}: {error}") from error
        if kind == "ArrayChunk":
            continue
        text += len(content)
        if text > MAX_TEXT_BYTES:
            raise OversizeError(f"the reply has more than {MAX_TEXT_BYTES} bytes beside its arrays")
        if kind != "Array":
            continue
        try:
            named = json.loads(content[content.find(b"\x00") + 1 :])["arraychunk_ids"]
            inflated += sum(len(contents[children[i]]) for i in named)
        except Exception as error:
            raise UnreadableError(f"the reply does not decode: {type(error).__name__}: {error}") from error
    if inflated + text > limit:
        raise OversizeError(f"the arrays of the reply are larger than {limit} bytes")


def _error(metadata: Metadata, reason: str, code: int) -> Message:
    return make_message(metadata, error=Error(code, reason))
