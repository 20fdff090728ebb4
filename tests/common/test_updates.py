"""Joining replies of one round."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.updates import DeviceUpdates, concatenate

P, D = 3, 2


def part(items: list[int], devices: list[int], masked: bool = False, seed: int = 0) -> DeviceUpdates:
    g = torch.Generator().manual_seed(seed)
    n, k = len(devices), len(items)
    rows = torch.randn(n, k, D, generator=g)
    touched = torch.rand(n, k, generator=g) < 0.5 if masked else None
    if touched is not None:
        rows = rows * touched[:, :, None]
    return DeviceUpdates(
        encoder=torch.randn(n, P, generator=g),
        rows=rows,
        items=torch.tensor(items, dtype=torch.int32),
        history=torch.tensor(devices, dtype=torch.int32) + 1,
        device=torch.tensor(devices, dtype=torch.int64),
        touched=touched,
    )


def row_of(updates: DeviceUpdates, index: int) -> dict[int, list[float]]:
    """The touched rows of one device by item number."""
    held = torch.ones(len(updates.items), dtype=torch.bool)
    if updates.touched is not None:
        held = updates.touched[index]
    return {int(i): r.tolist() for i, r in zip(updates.items[held], updates.rows[index][held], strict=True)}


def test_one_slice_stays_dense_without_a_mask() -> None:
    a, b = part([1, 4], [7]), part([1, 4], [3, 9], seed=1)
    joined = concatenate([a, b])
    assert joined.touched is None
    assert joined.items.tolist() == [1, 4]
    assert joined.device.tolist() == [7, 3, 9]
    assert joined.history.tolist() == [8, 4, 10]
    assert torch.equal(joined.rows[1:], b.rows)
    assert torch.equal(joined.encoder[0], a.encoder[0])


def test_own_items_are_spread_over_the_sorted_union() -> None:
    a, b = part([2, 5], [0], masked=True), part([1, 5, 9], [0, 1], masked=True, seed=3)
    joined = concatenate([a, b])
    assert joined.items.tolist() == [1, 2, 5, 9]
    assert joined.items.dtype == torch.int32
    assert joined.rows.shape == (3, 4, D)
    assert joined.touched is not None
    assert joined.touched.shape == (3, 4)
    assert torch.equal(joined.rows[0, [1, 2]], a.rows[0])
    assert torch.equal(joined.rows[1:, [0, 2, 3]], b.rows)
    assert not bool(joined.rows[~joined.touched].any())


def test_the_same_items_with_masks_keep_their_masks() -> None:
    a, b = part([2, 5], [0, 1], masked=True), part([2, 5], [2], masked=True, seed=3)
    joined = concatenate([a, b])
    assert joined.touched is not None
    assert a.touched is not None
    assert b.touched is not None
    assert torch.equal(joined.touched, torch.cat([a.touched, b.touched]))


def test_a_part_without_a_mask_touched_all_of_its_items() -> None:
    joined = concatenate([part([2, 5], [0]), part([5, 6], [1], masked=True)])
    assert joined.touched is not None
    assert joined.touched[0].tolist() == [True, True, False]


def test_row_norms_are_read_once_and_belong_to_their_own_rows() -> None:
    joined = concatenate([part([1, 4], [7]), part([1, 4], [3, 9], seed=1)])
    assert torch.equal(joined.row_norms, joined.rows.norm(dim=2))
    assert joined.row_norms is joined.row_norms
    some = joined.take(torch.tensor([2, 0]))
    assert torch.equal(some.row_norms, joined.row_norms[[2, 0]])


def test_an_empty_part_changes_nothing() -> None:
    a = part([2, 5], [0, 1])
    joined = concatenate([a, part([2, 5], [])])
    assert torch.equal(joined.rows, a.rows)
    assert len(concatenate([part([], []), part([2], [1], masked=True)])) == 1


def test_one_part_is_itself_and_none_is_an_error() -> None:
    a = part([2, 5], [0], masked=True)
    assert concatenate([a]) is a
    with pytest.raises(ValueError, match="nothing"):
        concatenate([])


item_sets = st.sets(st.integers(1, 12), min_size=0, max_size=6).map(sorted)


@given(
    groups=st.lists(st.tuples(item_sets, st.integers(0, 3)), min_size=1, max_size=4), seed=st.integers(0, 9)
)
def test_every_device_keeps_exactly_its_own_rows(groups: list[tuple[list[int], int]], seed: int) -> None:
    parts = [part(items, list(range(n)), masked=True, seed=seed + i) for i, (items, n) in enumerate(groups)]
    joined = concatenate(parts)
    expected = [row_of(p, i) for p in parts for i in range(len(p))]
    assert [row_of(joined, i) for i in range(len(joined))] == expected
    assert torch.equal(joined.items, torch.unique(joined.items))
    assert joined.touched is not None
    assert not bool(joined.rows[~joined.touched].any())


@pytest.mark.parametrize("masked", [False, True])
def test_an_order_is_that_of_the_whole(masked: bool) -> None:
    parts = [part([1, 4], [7, 2], masked), part([4, 9] if masked else [1, 4], [5], masked, seed=1)]
    order = torch.tensor([1, 2, 0])
    found, expected = concatenate(parts, order), concatenate(parts).take(order)
    for name in ("encoder", "rows", "items", "history", "device"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    assert (found.touched is None) == (expected.touched is None) == (not masked)
    if found.touched is not None and expected.touched is not None:
        assert torch.equal(found.touched, expected.touched)
    assert concatenate(parts[:1], torch.tensor([0, 1])) is parts[0]
    assert concatenate(parts[:1], torch.tensor([1, 0])).device.tolist() == [2, 7]
