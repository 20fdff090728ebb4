"""What a round sent and received, for its report."""

from __future__ import annotations

from collections.abc import Sequence

from flwr.app import ArrayRecord, Message

from common.wire.arrays import num_bytes


def content_bytes(message: Message) -> int:
    """Bytes of the arrays in a message's content; its few settings are not counted."""
    if not message.has_content():
        return 0
    records = message.content.values()
    return sum(num_bytes(a) for r in records if isinstance(r, ArrayRecord) for a in r.values())


def traffic(sent: Sequence[Message], received: Sequence[Message], known: int) -> dict[str, float]:
    """Bytes and nodes of a round's exchange; known: the nodes that could have been asked."""
    asked = {m.metadata.dst_node_id for m in sent}
    return {
        "bytes_down": float(sum(content_bytes(m) for m in sent)),
        "bytes_up": float(sum(content_bytes(m) for m in received)),
        "nodes_known": float(known),
        "nodes_asked": float(len(asked)),
        "nodes_answered": float(len(asked & {m.metadata.src_node_id for m in received})),
    }
