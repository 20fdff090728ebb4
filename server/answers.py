"""From Flower's replies to what admission judges, and from verdicts back to lines of the audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flwr.app import Message
from flwr.common.constant import ErrorCode
from torch import Tensor

from server.admission import Admitted, AuditEntry, Reply

LATE = "no reply by the deadline"
EXPIRED = (ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE)
"""The grid's own word, not the node's, that no reply will come any more."""


def sort_replies(messages: Iterable[Message], asked: Mapping[int, Tensor]) -> tuple[list[Reply], list[int]]:
    """A reply for every node that was asked, and the nodes that were silent, ascending.

    asked: node -> device numbers int64 [m]. A reply that nobody asked for is dropped.
    """
    answers, silent = [], set(asked)
    for message in messages:
        node = message.metadata.src_node_id
        if node not in asked:
            continue
        failed = message.has_error()
        if failed and message.error.code in EXPIRED:
            continue
        silent.discard(node)
        error = (message.error.reason or "error") if failed else ""
        answers.append(Reply(node, asked[node], None if failed else message.content, error))
    late = sorted(silent)
    return answers + [Reply(node, asked[node], None, LATE) for node in late], late


def audit_lines(admitted: Admitted, weights: Tensor | None) -> list[dict[str, Any]]:
    """The audit entries, with each admitted device's weight beside it."""
    weight = {} if weights is None else dict(zip(admitted.identity, weights.tolist(), strict=True))

    def line(entry: AuditEntry) -> dict[str, Any]:
        found = entry.to_json()
        if entry.device is not None and (entry.node, entry.device) in weight:
            found["weight"] = weight[entry.node, entry.device]
        return found

    return [line(entry) for entry in admitted.audit]
