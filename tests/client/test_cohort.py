"""What the grouping of devices must not change, and what one seed must fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

import client.cohort
from client.batch import Batch
from client.cohort import Cohort
from common.updates import DeviceUpdates
from tests.client.samples import ITEMS, LENGTHS, SLICE, cohort, histories, history, model_config, task

CLOSE = {"rtol": 1e-4, "atol": 1e-6}


def same(a: DeviceUpdates, b: DeviceUpdates, exact: bool = False) -> None:
    tolerance = {"rtol": 0.0, "atol": 0.0} if exact else CLOSE
    torch.testing.assert_close(a.encoder, b.encoder, **tolerance)
    torch.testing.assert_close(a.rows, b.rows, **tolerance)
    for name in ("items", "history", "device"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert (a.touched is None) == (b.touched is None)
    if a.touched is not None and b.touched is not None:
        assert torch.equal(a.touched, b.touched)


NEGATIVES = pytest.mark.parametrize("negatives", ["slice", "full", "device"])


@NEGATIVES
def test_an_update_is_complete_and_in_the_order_asked_for(negatives: str) -> None:
    what = task(negatives=negatives, device_negatives=6)
    updates = cohort(what).train()
    n, size = len(LENGTHS), len(updates.items)
    assert updates.encoder.shape == (n, len(what.model.encoder))
    assert updates.rows.shape == (n, size, 8)
    assert updates.device.tolist() == list(range(n))
    assert updates.history.tolist() == [min(length, 11) for length in LENGTHS]
    assert (updates.items.dtype, updates.history.dtype) == (torch.int32, torch.int32)
    assert updates.items.tolist() == sorted(set(updates.items.tolist()))
    assert bool(torch.isfinite(updates.rows).all())
    if negatives == "device":
        assert updates.touched is not None
        assert updates.touched.shape == (n, size)
    else:
        assert updates.touched is None
        assert torch.equal(updates.items, what.items)


@NEGATIVES
def test_the_same_seed_gives_the_same_bits(negatives: str) -> None:
    what = task(negatives=negatives, window="random", local_steps=2, device_negatives=6)
    same(cohort(what).train(), cohort(what).train(), exact=True)


def test_another_key_or_round_draws_anew() -> None:
    one = cohort(task(window="random"), [25] * 3)
    later = replace(one, task=replace(one.task, round=4))
    fresh = Cohort(one.task, one.numbers, one.sequences)
    again = Cohort(one.task, one.numbers, one.sequences)  # nobody knows a key that nobody gave
    drawn = [c.train().rows for c in (one, replace(one, key=6), later, fresh, again)]
    for i, rows in enumerate(drawn):
        assert not any(torch.allclose(rows, other, **CLOSE) for other in drawn[:i])
    assert torch.equal(replace(one, key=b"own").train().rows, replace(one, key=b"own").train().rows)
    assert "own" not in repr(replace(one, key=b"own"))


def test_devices_with_equal_histories_draw_for_themselves() -> None:
    one = history(25)
    updates = Cohort(task(window="random"), [4, 5], [one, one], key=5).train()
    assert not torch.allclose(updates.rows[0], updates.rows[1], **CLOSE)


def test_no_global_randomness_is_used() -> None:
    what = task(window="random", negatives="device", device_negatives=6)
    torch.manual_seed(1)
    np.random.seed(1)
    first = cohort(what).train()
    torch.manual_seed(2)
    np.random.seed(2)
    same(first, cohort(what).train(), exact=True)


@pytest.mark.parametrize("negatives", ["slice", "full"])
def test_the_order_and_the_company_of_a_device_do_not_matter(negatives: str) -> None:
    what = task(negatives=negatives, window="random", local_steps=2)
    everyone = cohort(what).train()
    order = [7, 2, 5, 0, 8, 1, 4, 3, 6]
    sequences = histories()
    shuffled = Cohort(what, order, [sequences[i] for i in order], key=5).train()
    same(shuffled, everyone.take(torch.tensor(order)))
    for i in (1, 5, 8):
        same(Cohort(what, [i], [sequences[i]], key=5).train(), everyone.take(torch.tensor([i])))


def test_with_own_negatives_the_company_changes_the_union_only() -> None:
    what = task(negatives="device", window="random", device_negatives=6)
    everyone, sequences = cohort(what).train(), histories()
    assert everyone.touched is not None
    for i in (0, 1, 5, 8):
        alone = Cohort(what, [i], [sequences[i]], key=5).train()
        assert alone.touched is not None
        assert bool(alone.touched.all())
        held = everyone.touched[i]
        assert torch.equal(everyone.items[held], alone.items)
        torch.testing.assert_close(everyone.rows[i][held], alone.rows[0], **CLOSE)
        torch.testing.assert_close(everyone.encoder[i], alone.encoder[0], **CLOSE)


@pytest.mark.parametrize("floats", [1, 30_000])
def test_chunks_do_not_change_the_result(floats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    what = task(window="random", negatives="device", device_negatives=6)
    lengths = [9, 25, 3, 12, 6, 8, 2, 14, 11]
    whole = cohort(what, lengths).train()
    monkeypatch.setattr(client.cohort, "CHUNK_FLOATS", floats)
    same(cohort(what, lengths).train(), whole)


def test_chunks_bound_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = client.cohort.make_batch

    def counting(windows: Sequence[np.ndarray], length: int) -> Batch:  # type: ignore[type-arg]
        sizes.append(len(windows))
        return original(windows, length)

    monkeypatch.setattr(client.cohort, "make_batch", counting)
    cohort(task(), [25] * 12).train()
    assert sizes == [12]
    sizes.clear()
    total = len(task().model.encoder)
    a_device = 6 * (10 * len(SLICE) + total) + 4 * len(SLICE) * 8
    monkeypatch.setattr(client.cohort, "CHUNK_FLOATS", 5 * a_device)
    cohort(task(), [25] * 12).train()
    assert sizes == [5, 5, 2]


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_buckets_do_not_change_the_result(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short history in its own bucket (8) or padded to the whole window (10)."""
    what = task(model_config(name=name, dropout=0.0), local_steps=2)
    short = cohort(what, [3, 25, 9, 5]).train()
    monkeypatch.setattr(client.cohort, "buckets", lambda lengths, max_len: [(10, np.arange(4))])
    same(cohort(what, [3, 25, 9, 5]).train(), short)


def test_own_rows_are_the_window_and_the_negatives_and_nothing_else() -> None:
    what = task(negatives="device", window="random", device_negatives=4, local_steps=2)
    trained = cohort(what)
    updates = trained.train()
    touched = updates.touched
    assert touched is not None
    assert bool(touched.any(dim=0).all())  # the union holds nothing that nobody touched
    for i, window in enumerate(trained.windows):
        own = set(updates.items[touched[i]].tolist())
        assert set(window.tolist()) <= own
        assert 4 <= len(own) <= 4 + len(set(window.tolist()))
        assert not bool(updates.rows[i][~touched[i]].any())  # exactly zero
        if len(window) > 1:
            assert bool(updates.rows[i][touched[i]].any(dim=1).all())


def test_negatives_are_distinct_catalogue_items_and_at_most_all_of_them() -> None:
    what = task(negatives="device", device_negatives=500)
    updates = cohort(what, [3, 6]).train()
    assert updates.items.tolist() == list(range(1, ITEMS + 1))
    assert updates.touched is not None
    assert bool(updates.touched.all())


def test_negatives_cover_the_catalogue_evenly() -> None:
    what = task(negatives="device", device_negatives=6)
    rows = Cohort(what, range(300), [history(0)] * 300, key=5).rows
    assert rows.candidates is not None
    share = rows.candidates.double().mean(0)
    assert rows.items.tolist() == list(range(1, ITEMS + 1))
    assert share.tolist() == pytest.approx([6 / ITEMS] * ITEMS, abs=0.1)


def test_relabel_sees_each_device_with_its_batch_and_changes_what_is_learned() -> None:
    what = task()
    numbers = [30, 10, 20, 40]
    sequences = [history(25), history(4), history(6), history(9)]
    seen: dict[int, tuple[list[int], list[int]]] = {}

    def relabel(batch: Batch, devices: Sequence[int]) -> Batch:
        for place, number in enumerate(devices):
            real = ~batch.padding[place]
            seen[number] = (batch.inputs[place][real].tolist(), batch.targets[place][real].tolist())
        return replace(batch, targets=torch.where(batch.targets > 0, SLICE[2], 0))

    updates = Cohort(what, numbers, sequences, key=5).train(relabel)
    for number, items in zip(numbers, sequences, strict=True):
        tail = items[-11:].tolist()
        assert seen[number] == (tail[:-1], tail[1:])
    honest = Cohort(what, numbers, sequences, key=5).train()
    assert not torch.allclose(updates.rows, honest.rows, **CLOSE)
    along = (updates.rows - honest.rows)[:, 2].norm(dim=1)
    assert bool((along > 0).all())
    same(Cohort(what, numbers, sequences, key=5).train(lambda batch, devices: batch), honest, exact=True)


def test_the_global_model_is_not_changed() -> None:
    what = task(local_steps=3)
    encoder, table = what.model.encoder.clone(), what.model.table.clone()
    updates = cohort(what).train()
    assert torch.equal(what.model.encoder, encoder)
    assert torch.equal(what.model.table, table)
    updates.rows.zero_()
    updates.encoder.zero_()
    assert torch.equal(what.model.table, table)
