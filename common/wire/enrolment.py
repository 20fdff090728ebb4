"""Enrolment on the wire: ``enrolment`` messages, node to server."""

from __future__ import annotations

from flwr.app import RecordDict

from common.tasks import Enrolment
from common.wire.arrays import ascending, pack, within
from common.wire.message import Received, seal


def encode_enrolment(enrolment: Enrolment) -> RecordDict:
    """The message."""
    arrays = {"devices": pack(enrolment.devices, "int64"), "history": pack(enrolment.history, "int32")}
    return seal("enrolment", {}, arrays)


def decode_enrolment(record: RecordDict, limit: int) -> Enrolment:
    """At most ``limit`` devices, numbers ascending and ≥ 0, history claims ≥ 0. Raises WireError."""
    message = Received(record, "enrolment", (), max_bytes=12 * limit)
    message.only("devices", "history")
    devices = message.array("devices", "int64", (range(limit + 1),))
    history = message.array("history", "int32", (len(devices),))
    within("devices", devices, 0)
    ascending("devices", devices)
    within("history", history, 0)
    return Enrolment(devices=devices, history=history)
