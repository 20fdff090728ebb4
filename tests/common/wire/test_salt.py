"""No part of a message has an object id that somebody else could work out before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from flwr.app import Array, RecordDict
from flwr.common.constant import FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE

from common import wire
from common.wire.arrays import HeldArray, pack, unpack
from common.wire.enrolment import Question
from common.wire.message import seal
from common.wire.salt import CHUNK, ROOM, plain_size, salted, salted_size, unsalted
from tests.common.wire import samples
from tests.common.wire.samples import ROUND, RUN


def plain(array: Array) -> Array:
    """As it comes over the wire."""
    return Array(array.dtype, array.shape, array.stype, array.data)


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


@pytest.mark.parametrize("size", [0, 1, ROOM - 1, ROOM, ROOM + 1, 2 * ROOM, 2 * ROOM + 3])
def test_each_chunk_of_an_array_has_salt_and_the_values_are_what_they_were(size: int) -> None:
    values = torch.arange(size).remainder(251).to(torch.uint8)
    array = pack(values, "uint8")
    assert len(array.data) == salted_size(size)
    assert plain_size(array.data) == size
    assert torch.equal(unpack(plain(array), "x", "uint8", (size,)), values)
    assert unsalted(array.data, "|u1").tolist() == values.tolist()
    one, other = ({*object_ids(pack(values, "uint8"))} for _ in range(2))
    assert len(one) == 1 + max(1, -(-size // ROOM))  # the array and its chunks
    assert not one & other


def test_chunks_are_those_of_flower() -> None:
    assert CHUNK == FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE
    assert len(salted(np.zeros(ROOM, np.uint8))) == CHUNK


def test_a_message_without_arrays_is_not_sealed() -> None:
    with pytest.raises(ValueError, match="without an array"):
        seal("catalogue", {}, {})
