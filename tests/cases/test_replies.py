"""Cases 11 and 17: replies that cannot be read are told by their reason, and none is too large to ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from flwr.app import Message, RecordDict

from common.errors import RunError
from common.wire.reasons import Reason
from common.wire.replies import LATE, sort_replies
from tests.server.federation import config, run
from tests.server.test_parts import Counting, training
from tests.transport.test_grpc_pull import Stub, pull_for, reply, swapped
from transport.grpc_pull import MAX_TEXT_BYTES, TRIES

NODE = 11
DEVICES = torch.tensor([1, 2])
Spoil = Callable[[Stub, Message], None]


def undecodable(stub: Stub, message: Message) -> None:
    stub.contents = dict.fromkeys(stub.contents, b"garbage")


def expired(stub: Stub, message: Message) -> None:
    stub.contents.clear()


def wordy(stub: Stub, message: Message) -> None:
    swapped(stub, message, "Array", b" " * (MAX_TEXT_BYTES + 1))


def no_message(stub: Stub, message: Message) -> None:
    stub.contents[message.object_id] = RecordDict().deflate()


def cut_off(stub: Stub, message: Message) -> None:
    stub.outages = 10**6


@pytest.mark.parametrize(
    ("spoil", "limit", "told", "reason"),
    [
        (lambda *_: None, 8, "larger than 8 bytes", Reason.OVERSIZE),
        (wordy, 1 << 30, "bytes beside its arrays", Reason.OVERSIZE),
        (undecodable, 1 << 30, "does not decode", Reason.FAILED),
        (no_message, 1 << 30, "not a Message", Reason.FAILED),
        (expired, 1 << 30, "", Reason.FAILED),
        (cut_off, 1 << 30, "cannot be pulled", Reason.FAILED),
    ],
)
def test_what_cannot_be_read_is_told_by_its_reason_and_its_node_does_not_rest(
    spoil: Spoil, limit: int, told: str, reason: Reason
) -> None:
    """It is not "no reply by the deadline": the node was in time."""
    message = reply(NODE)
    stub = Stub(message)
    spoil(stub, message)
    pull = pull_for(stub, limit)
    found = [one for _ in range(TRIES) for one in pull([f"m{NODE}"])]
    (answer,), silent = sort_replies(found, [(NODE, DEVICES)])
    assert told in answer.error
    assert answer.error not in ("", LATE)
    assert (answer.reason, silent) == (reason, [])


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("train.negatives=full",),
        ("train.negatives=device",),
        ("wire.dtype=float16",),
        ("train.slices=2", "train.slice_size=8"),
        ("model.code_books=2", "model.code_rows=7"),
    ],
)
def test_a_node_with_more_than_a_reply_holds_is_asked_in_parts_and_loses_nothing(
    overrides: tuple[str, ...], tmp_path: Path
) -> None:
    grid = Counting()
    run(config("train.rounds=1", "wire.reply_mb=0.003", *overrides), tmp_path, grid=grid)
    assert len(grid.asked[0]) > 2
    assert {line["verdict"] for line in training(tmp_path) if line["reason"] != Reason.IDLE} == {"admitted"}


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        ((), "a smaller train.slice_size or model.dim"),
        (("train.negatives=full",), "a smaller train.slice_size or model.dim"),
        (("train.negatives=device",), "a smaller train.slice_size or model.dim"),
        (("train.slices=2", "train.slice_size=8"), "a smaller train.slice_size or model.dim"),
        (("model.code_books=2", "model.code_rows=7"), "fewer model.code_rows or model.dim"),
    ],
)
def test_one_device_that_fits_in_no_reply_ends_the_run_before_anything_is_sent(
    overrides: tuple[str, ...], remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDSIEVE_FLEET_REPLY_MB", "1")
    grid = Counting()
    with pytest.raises(
        RunError, match=rf"the update of one device is .* rows\); a reply .*_REPLY_MB\): {remedy}"
    ):
        run(config("train.rounds=1", "model.dim=256", "model.heads=1", *overrides), tmp_path, grid=grid)
    assert grid.asked == []
