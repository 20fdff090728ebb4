"""No part of a message has an object id that somebody else could work out before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from flwr.app import RecordDict

from common import wire
from common.wire.arrays import HeldArray, pack, salted
from common.wire.enrolment import Question
from common.wire.message import seal
from tests.common.wire import samples
from tests.common.wire.samples import ROUND, RUN

MESSAGES: dict[str, Callable[[], RecordDict]] = {
    "question": lambda: wire.encode_question(Question("c" * 32, 3)),
    "enrolment": lambda: wire.encode_enrolment(samples.enrolment()),
    "train": lambda: wire.encode_train_task(samples.train_task()),
    "updates": lambda: wire.encode_updates(samples.updates(), RUN, ROUND),
    "evaluate": lambda: wire.encode_evaluate_task(samples.evaluate_task()),
    "sums": lambda: wire.encode_evaluate_sums(samples.sums(), RUN, ROUND),
}


def object_ids(part: object) -> Iterator[str]:
    """Of an object of Flower's and all that it consists of."""
    yield part.object_id  # type: ignore[attr-defined]
    for child in (part.children or {}).values():  # type: ignore[attr-defined]
        yield from object_ids(child)


@pytest.mark.parametrize("kind", MESSAGES)
def test_two_messages_of_the_same_content_have_no_object_in_common(kind: str) -> None:
    one, other = ({*object_ids(MESSAGES[kind]())} for _ in range(2))
    assert len(one) > 4  # the record, its two parts, an array and its bytes
    assert not one & other


def test_what_is_packed_once_is_one_object() -> None:
    array = pack(torch.zeros(3), "float32")
    assert array.object_id == array.object_id
    assert isinstance(array, HeldArray)


def test_an_array_without_values_has_salt_too() -> None:
    one, other = (pack(torch.zeros(0), "float32") for _ in range(2))
    assert one == other
    assert one.object_id != other.object_id
    assert salted(b"") != salted(b"")


def test_a_message_without_arrays_is_not_sealed() -> None:
    with pytest.raises(ValueError, match="without an array"):
        seal("catalogue", {}, {})
