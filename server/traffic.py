"""Bytes of a message."""

from __future__ import annotations

from flwr.app import ArrayRecord, Message


def content_bytes(message: Message) -> int:
    """Bytes of the arrays in a message's content; its few settings are not counted."""
    if not message.has_content():
        return 0
    records = message.content.values()
    return sum(len(a.data) for r in records if isinstance(r, ArrayRecord) for a in r.values())
