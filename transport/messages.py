"""What Flower has no public way for: the numbers of a message, its bytes, and how the network changes it."""

from __future__ import annotations

from flwr.app import Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.run import Run
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

__all__ = ["SERVER", "ErrorCode", "Run", "record_bytes", "record_from_bytes", "round_trip", "stamp"]

SERVER = SUPERLINK_NODE_ID
"""The sender of what the server says."""


def stamp(
    message: Message, *, number: str | None = None, run: int | None = None, sender: int | None = None
) -> Message:
    """``message`` with these three of its metadata, which Flower has no setters for."""
    metadata = message.metadata.__dict__
    given = {"_message_id": number, "_run_id": run, "_src_node_id": sender}
    metadata.update((name, value) for name, value in given.items() if value is not None)
    return message


def record_bytes(record: RecordDict) -> bytes:
    """A record as bytes, for a checkpoint."""
    data: bytes = recorddict_to_proto(record).SerializeToString()
    return data


def record_from_bytes(data: bytes) -> RecordDict:
    """The inverse of :func:`record_bytes`. Raises ValueError for other bytes."""
    try:
        return recorddict_from_proto(ProtoRecordDict.FromString(data))
    except DecodeError as error:
        raise ValueError("no record of Flower's") from error


def round_trip(message: Message) -> Message:
    """Deflate and inflate the message exactly as the objects of a networked message are."""
    objects = get_all_nested_objects(message)
    contents = {name: item.deflate() for name, item in objects.items()}
    result = inflate_object_from_contents(message.object_id, contents)
    assert isinstance(result, Message)
    return stamp(result, number=message.metadata.message_id)  # the one field that stays outside
