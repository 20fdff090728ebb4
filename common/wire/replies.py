"""What came back from one exchange, node by node: an answer, an error, or nothing in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flwr.app import Message, RecordDict
from torch import Tensor

from common.tasks import Asked
from common.wire.reasons import Reason

LATE = "no reply by the deadline"
EARLY = "no reply before the round was closed"
CUT_OFF = "no reply in twice the time that the others took"
OVERSIZE = 10_001
"""Error code for a reply that is too much to be read; a node that writes it itself accuses itself alone."""


class Replies(list[Message]):
    """What came back, in the order of the messages, and which nodes are missing.

    held: node -> the seconds that were waited for it alone (and others like it) until the deadline.
    early: nodes that had not answered everything yet when enough others had.
    requests: to which message, counted from 0, each reply is; by default each is a node's next one.
    """

    def __init__(
        self,
        messages: Iterable[Message] = (),
        held: Mapping[int, float] | None = None,
        early: Iterable[int] = (),
        requests: Sequence[int] | None = None,
    ) -> None:
        super().__init__(messages)
        self.held = dict(held or {})
        self.early = frozenset(early)
        self.requests = requests


@dataclass(frozen=True)
class Reply:
    """What came back from one request: a node, the devices asked (int64 [m]), content or an error text.

    reason: of the audit, for an error. seconds_held: what a round waited for this reply in vain.
    """

    node: int
    asked: Tensor
    content: RecordDict | None
    error: str = ""
    reason: Reason = Reason.FAILED
    seconds_held: float | None = None


def sort_replies(messages: Iterable[Message], asked: Sequence[Asked]) -> tuple[list[Reply], list[int]]:
    """A reply for every message of ``asked``, and the nodes that missed the deadline with one, ascending.

    A reply that nobody asked for is dropped, and with it what a grid says by itself (expired, node gone): a
    SuperLink signs that as itself, and takes a reply only from the node that was asked. Whatever a node signs
    is its answer, whichever error code it carries.
    """
    replies = messages if isinstance(messages, Replies) else Replies(messages)
    answers, left = [], dict(enumerate(asked))
    for place, message in enumerate(replies):
        node = message.metadata.src_node_id
        if replies.requests is not None:
            request = replies.requests[place]
        else:
            request = next((number for number, (of, _) in left.items() if of == node), -1)
        if request not in left or left[request][0] != node:
            continue
        devices = left.pop(request)[1]
        if message.has_error():
            reason = Reason.OVERSIZE if message.error.code == OVERSIZE else Reason.FAILED
            answers.append(Reply(node, devices, None, message.error.reason or "error", reason))
        else:
            answers.append(Reply(node, devices, message.content))
    missing = sorted(left.values(), key=lambda request: request[0])
    early = [Reply(node, devices, None, EARLY) for node, devices in missing if node in replies.early]
    late = [
        Reply(node, devices, None, LATE, seconds_held=replies.held.get(node))
        for node, devices in missing
        if node not in replies.early
    ]
    return answers + early + late, sorted({reply.node for reply in late})
