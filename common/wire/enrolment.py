"""Enrolment on the wire: the server's ``catalogue`` to a node, and the node's ``enrolment`` to the server."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from flwr.app import RecordDict

from common.tasks import Enrolment
from common.wire.arrays import ascending, pack, within
from common.wire.message import Received, seal
from common.wire.reasons import Reason, fail

MAX_FINGERPRINT = 64
"""Characters of a catalogue's fingerprint; 32 are used."""


@dataclass(frozen=True)
class Question:
    """The server's question who is there.

    catalogue: the fingerprint of its own; empty where it has none. known: how many devices the node came
    with before, 0 for a node that is new.
    """

    catalogue: str = ""
    known: int = 0


def encode_question(question: Question) -> RecordDict:
    """The message."""
    known = pack(torch.tensor([question.known]), "int64")
    return seal("catalogue", {"catalogue": question.catalogue}, {"known": known})


def decode_question(record: RecordDict) -> Question:
    """The question; that of a server which says nothing at all is an empty one. Raises WireError."""
    if isinstance(record, RecordDict) and not record:
        return Question()
    message = Received(record, "catalogue", ("catalogue",), max_bytes=8)
    message.only("known")
    known = message.array("known", "int64", (1,))
    within("known", known, 0)
    return Question(_fingerprint(message), int(known))


def encode_enrolment(enrolment: Enrolment) -> RecordDict:
    """The message."""
    arrays = {"devices": pack(enrolment.devices, "int64"), "history": pack(enrolment.history, "int32")}
    return seal("enrolment", {"catalogue": enrolment.catalogue}, arrays)


def decode_enrolment(record: RecordDict, limit: int) -> Enrolment:
    """At most ``limit`` devices, numbers ascending and ≥ 0, history claims ≥ 0. Raises WireError."""
    message = Received(record, "enrolment", ("catalogue",), max_bytes=12 * limit)
    message.only("devices", "history")
    devices = message.array("devices", "int64", (range(limit + 1),))
    history = message.array("history", "int32", (len(devices),))
    within("devices", devices, 0)
    ascending("devices", devices)
    within("history", history, 0)
    return Enrolment(devices=devices, history=history, catalogue=_fingerprint(message))


def check_catalogue(own: str, other: str, whose: str) -> None:
    """Raise WireError where both sides have a fingerprint and they differ; ``whose``: the owner of ``other``.

    Equal numbers of items are not enough: item 7 of the one may be item 30 of the other.
    """
    if own and other and own != other:
        detail = (
            f"{whose} catalogue is {other[:8]}, here it is {own[:8]}: use one catalogue.parquet everywhere, "
            "and with eval.split=time the same two times"
        )
        fail("catalogue", Reason.FOREIGN, detail)


def _fingerprint(message: Received) -> str:
    text = message.text("catalogue")
    if len(text) > MAX_FINGERPRINT or not all(c in "0123456789abcdef" for c in text):
        fail("meta.catalogue", Reason.RANGE, f"expected up to {MAX_FINGERPRINT} hexadecimal digits")
    return text
