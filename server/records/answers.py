"""From Flower's replies to what admission judges, and from verdicts back to lines of the audit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from flwr.app import Message
from torch import Tensor

from common.wire import Reason, UpdateSpec
from server.round.admission import Admitted, AuditEntry, Reply
from transport.exchange import Replies
from transport.grpc_pull import OVERSIZE

LATE = "no reply by the deadline"
EARLY = "no reply before the round was closed"


def limits(asked: Mapping[int, Tensor], spec: UpdateSpec) -> dict[int, int]:
    """Node -> bytes that its reply may hold: what ``spec`` allows for the devices asked of it."""
    return {node: replace(spec, devices=devices).limit for node, devices in asked.items()}


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


def audit_lines(admitted: Admitted, weights: Tensor | None) -> list[dict[str, Any]]:
    """The audit entries, with each admitted device's weight beside it."""
    weight = {} if weights is None else dict(zip(admitted.identity, weights.tolist(), strict=True))

    def line(entry: AuditEntry) -> dict[str, Any]:
        found = entry.to_json()
        if entry.device is not None and (entry.node, entry.device) in weight:
            found["weight"] = weight[entry.node, entry.device]
        return found

    return [line(entry) for entry in admitted.audit]
