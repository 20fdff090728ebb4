"""Run a ClientApp on one message; whatever happens, there is a reply."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flwr.app import Context, Error, Message
from flwr.common.constant import ErrorCode

_LOG = logging.getLogger(__name__)
_REASON_CHARS = 2000

NOBODY = 0
"""The sender of what a grid in this process says by itself; no node has this number."""

App = Callable[[Message, Context], Message]
"""A Flower ClientApp, or anything that is called like one."""


def answer(client_app: App, message: Message, context: Context) -> Message:
    """Return the app's reply to ``message``, or an error reply if the app raises or returns nonsense."""
    try:
        reply = client_app(message, context)
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
