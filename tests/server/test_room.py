"""Several replies of one node: the same devices as one by one, none of them copied to another place."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from common.updates import DeviceUpdates, concatenate
from common.wire import encode_updates
from server.round import room
from server.round.admission import Reply, admit
from tests.server.test_admission import ROUND, RUN, honest, spec


def part(numbers: list[int], seed: int) -> DeviceUpdates:
    return honest(numbers, seed=seed)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("block", [1, 1 << 22])
@pytest.mark.parametrize("bad", [(), (0,), (1, 2), (3,), (0, 4, 5), (0, 1), (6,), (0, 1, 2, 3, 4, 5)])
@pytest.mark.parametrize("way", ["nan", "zero"])
def test_whatever_is_refused_the_others_are_what_they_were(
    monkeypatch: pytest.MonkeyPatch, dtype: str, block: int, bad: tuple[int, ...], way: str
) -> None:
    """NaN is refused as a reply is read, a device of zeros once all are there: both leave gaps."""
    monkeypatch.setattr(room, "BLOCK", block)
    parts = [part([1, 2, 3], 0), part([5, 6], 1), part([7, 9], 2)]
    whole = concatenate(parts)
    for k in bad:
        for values in (whole.encoder, whole.rows):
            values[k] = torch.nan if way == "nan" else 0.0
    replies, start = [], 0
    for one in parts:
        some = whole.take(torch.arange(start, start + len(one)))
        start += len(one)
        replies.append(Reply(7, one.device, encode_updates(some, RUN, ROUND, dtype)))  # type: ignore[arg-type]
    found = admit(replies, spec(), 50).updates
    good = torch.tensor([k for k in range(7) if k not in bad])
    assert found is not None
    assert torch.equal(found.device, whole.device[good])
    assert torch.equal(found.history, whole.history[good])
    for name in ("encoder", "rows"):
        expected = getattr(whole, name)[good]
        assert torch.allclose(getattr(found, name), expected, atol=0 if dtype == "float32" else 1e-3)


def test_replies_that_come_in_order_are_decoded_to_where_they_stay() -> None:
    parts = [part([1, 2], 0), part([3], 1)]
    replies = [Reply(7, one.device, encode_updates(one, RUN, ROUND)) for one in parts]
    found = admit(replies, spec(), 50).updates
    assert found is not None
    assert found.rows.untyped_storage().nbytes() == found.rows.numel() * 4
    turned = admit(replies[::-1], spec(), 50).updates
    assert turned is not None
    assert torch.equal(turned.device, torch.tensor([1, 2, 3]))
    assert torch.equal(turned.rows, found.rows)


def test_a_reply_that_does_not_decode_leaves_no_hole() -> None:
    parts = [part([1, 2], 0), part([3], 1), part([4, 5], 2)]
    replies = [Reply(7, one.device, encode_updates(one, RUN, ROUND)) for one in parts]
    alone = admit([replies[0], replies[2]], spec(), 50).updates
    stale = replace(replies[1], content=encode_updates(parts[1], RUN, ROUND + 1))
    found = admit([replies[0], stale, replies[2]], spec(), 50).updates
    assert alone is not None
    assert found is not None
    assert torch.equal(found.rows, alone.rows)
    assert found.device.tolist() == [1, 2, 4, 5]
