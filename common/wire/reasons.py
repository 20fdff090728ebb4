"""Why a message, or one device in it, is refused: a closed list, so that reasons can be counted."""

from __future__ import annotations

from enum import StrEnum
from typing import NoReturn

from common.errors import WireError

SHOWN = 60
"""Characters of a sender's own text that an error repeats."""


class Reason(StrEnum):
    """One word for counting; the detail of the error says what was expected."""

    MISSING = "missing"  # a record, key, device or reply that should be there
    UNEXPECTED = "unexpected"  # a record, key or value that should not be there
    TYPE = "type"  # the wrong kind of record or Python value
    VERSION = "version"  # another layout of the message
    DTYPE = "dtype"
    SHAPE = "shape"
    SIZE = "size"  # the bytes do not fill the declared shape
    OVERSIZE = "oversize"  # larger than the receiver allows
    NOT_FINITE = "not_finite"
    RANGE = "range"
    DUPLICATE = "duplicate"
    ORDER = "order"  # numbers that must ascend do not
    NOT_ALLOWED = "not_allowed"  # code from outside that the node's owner did not name
    FOREIGN = "foreign"  # another run
    STALE = "stale"  # another round
    UNKNOWN_DEVICE = "unknown_device"  # a device that was not asked
    FAILED = "failed"  # the node reported an error or its reply was lost
    COVERAGE = "coverage"  # far fewer non-zero rows than the others
    IDLE = "idle"  # honest and empty: no next item of the device is in the slice
    NORM = "norm"  # the squared norm overflows float32
    QUOTA = "quota"  # more devices than the node may stand for
    HISTORY = "history"  # the history claim was cut to the limit


def fail(field: str, reason: Reason, detail: str) -> NoReturn:
    """Raise :class:`WireError`."""
    raise WireError(field, reason.value, detail)


def show(value: object, limit: int = SHOWN) -> str:
    """A short ASCII form of anything a sender wrote: never raises, never long."""
    if isinstance(value, str | bytes):
        text = ascii(value[:limit])
        return text if len(value) <= limit else f"{text}... ({len(value)} long)"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"  # str() of a huge integer raises
    if isinstance(value, tuple | list):  # one level: nesting may be bottomless
        inner = ", ".join(type(v).__name__ if isinstance(v, tuple | list) else show(v) for v in value[:6])
        return f"({inner}{', ...' if len(value) > 6 else ''})"
    if isinstance(value, bool | int | float | None):
        return repr(value)
    return type(value).__name__
