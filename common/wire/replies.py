"""What came back from one exchange, node by node: an answer, an error, or nothing in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flwr.app import Message, RecordDict
from torch import Tensor

from common.wire.reasons import Reason

LATE = "no reply by the deadline"
EARLY = "no reply before the round was closed"
OVERSIZE = 10_001
"""Error code for a reply that is too much to be read; a node that writes it itself accuses itself alone."""


class Replies(list[Message]):
    """What came back, in the order of the messages, and which nodes are missing.

    held: node -> the seconds that were waited for it alone (and others like it) until the deadline.
    early: nodes that had not answered yet when enough others had.
    """

    def __init__(
        self,
        messages: Iterable[Message] = (),
        held: Mapping[int, float] | None = None,
        early: Iterable[int] = (),
    ) -> None:
        super().__init__(messages)
        self.held = dict(held or {})
        self.early = frozenset(early)


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


def sort_replies(messages: Iterable[Message], asked: Mapping[int, Tensor]) -> tuple[list[Reply], list[int]]:
    """A reply for every node that was asked, and the nodes that missed the deadline, ascending.

    asked: node -> device numbers int64 [m]. A reply that nobody asked for is dropped, and with it what a
    grid says by itself (expired, node gone): a SuperLink signs that as itself, and takes a reply only from
    the node that was asked. Whatever a node signs is its answer, whichever error code it carries.
    """
    answers, silent = [], set(asked)
    for message in messages:
        node = message.metadata.src_node_id
        if node not in asked:
            continue
        silent.discard(node)
        if message.has_error():
            reason = Reason.OVERSIZE if message.error.code == OVERSIZE else Reason.FAILED
            answers.append(Reply(node, asked[node], None, message.error.reason or "error", reason))
        else:
            answers.append(Reply(node, asked[node], message.content))
    found = messages if isinstance(messages, Replies) else Replies()
    early = silent & found.early
    late = sorted(silent - early)
    answers += [Reply(node, asked[node], None, EARLY) for node in sorted(early)]
    held = found.held
    return answers + [Reply(n, asked[n], None, LATE, seconds_held=held.get(n)) for n in late], late
