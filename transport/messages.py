"""What Flower has no public way for: numbers of messages, their bytes, and an answer whatever an app does."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.run import Run
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from common.errors import FedSieveError, RunError

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


_LOG = logging.getLogger(__name__)
_REASON_CHARS = 2000

NOBODY = 0
"""The sender of what a grid in this process says by itself; no node has this number."""


class AppFailed(RunError):
    """An app raised what nobody meant to be raised, where app and server share a process: the run ends.

    Over a network such an app costs its own node the round, and nobody else anything.
    """


App = Callable[[Message, Context], Message]
"""A Flower ClientApp, or anything that is called like one."""


def answer(client_app: App, message: Message, context: Context) -> Message:
    """Return the app's reply to ``message``, or an error reply if the app raises or returns nonsense.

    Raises :class:`AppFailed`, if the app does.
    """
    try:
        reply = client_app(message, context)
    except AppFailed:
        raise
    except FedSieveError as error:  # told in one line: it is meant for people
        _LOG.warning("a %s message is refused: %s", message.metadata.message_type, error)
        return failure(message, f"{type(error).__name__}: {error}")
    except Exception as error:
        _LOG.warning("the ClientApp failed on a %s message", message.metadata.message_type, exc_info=True)
        return failure(message, f"{type(error).__name__}: {error}")
    if not isinstance(reply, Message):
        return failure(message, f"the ClientApp returned {type(reply).__name__}, not a Message")
    if reply.metadata.reply_to_message_id != message.metadata.message_id:
        return failure(message, "the ClientApp returned a Message that is no reply to the one it was given")
    return reply


def failure(message: Message, reason: str, code: int = ErrorCode.CLIENT_APP_RAISED_EXCEPTION) -> Message:
    """An error reply to ``message``; long reasons are cut, since they travel in the message itself."""
    return Message(Error(code=code, reason=reason[:_REASON_CHARS]), reply_to=message)
