"""The vmapped cohort against a plain loop of one-device autograd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from client.cohort import Cohort
from client.device_inputs import Device
from common.config import ClientConfig
from common.settings import component
from common.updates import DeviceUpdates
from tests.client.oracle import train_one
from tests.client.samples import LENGTHS, SLICE, cohort, model_config, task

CLOSE = {"rtol": 1e-4, "atol": 3e-5}
SHAPE = (3, 5, 1, 1)
"""At most three steps, at most five places of dropout, all positions and values alike."""


@pytest.fixture
def dropout(monkeypatch: pytest.MonkeyPatch) -> dict[int, Tensor]:
    """Each device's dropout multipliers [E, sites, ℓ, d], as its training saw them."""
    seen: dict[int, Tensor] = {}
    original = Cohort._chunks

    def recording(self: Cohort, *args: Any) -> Iterator[tuple[Tensor, Device]]:
        for index, devices in original(self, *args):
            keep = devices.keep
            if keep is None:
                keep = torch.ones(len(index), *SHAPE)
            seen.update(zip(index.tolist(), keep, strict=True))
            yield index, devices

    monkeypatch.setattr(Cohort, "_chunks", recording)
    return seen


def compare(trained: Cohort, dropout: dict[int, Tensor]) -> DeviceUpdates:
    """Train, and check every device against the loop."""
    what, updates = trained.task, trained.train()
    items = updates.items.long()
    table = torch.zeros(len(updates), *what.model.table.shape)
    table[:, items] = updates.rows
    log_q = trained.rows.log_q
    if log_q is None:
        log_q = torch.zeros(len(items))
    for i, window in enumerate(trained.windows):
        own = torch.ones(len(items), dtype=torch.bool) if updates.touched is None else updates.touched[i]
        positions = max(len(window) - 1, 0)
        keep = dropout[i].expand(-1, -1, max(positions, dropout[i].shape[2]), -1)
        keep = keep[:, :, keep.shape[2] - positions :]
        encoder, rows = train_one(what, window, items[own], log_q[own], keep)
        torch.testing.assert_close(updates.encoder[i], encoder, **CLOSE)
        torch.testing.assert_close(table[i], rows, **CLOSE)
    return updates


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("negatives", ["slice", "full", "device"])
@pytest.mark.parametrize("loss", ["softmax", "bce", "gbce"])
def test_the_cohort_equals_a_loop_over_devices(
    loss: str, negatives: str, steps: int, dropout: dict[int, Tensor]
) -> None:
    lengths = (1, 2, 5, 11, 25)
    what = task(loss=loss, negatives=negatives, local_steps=steps, device_negatives=6)
    updates = compare(cohort(what, lengths), dropout)
    assert float(updates.encoder[1:].abs().max()) > 1e-3  # the comparison is not of zeros
    assert float(updates.rows[-1].abs().max()) > 1e-3


@pytest.mark.parametrize("dropout_rate", [0.0, 0.3])
def test_gru4rec_trains_alike(dropout_rate: float, dropout: dict[int, Tensor]) -> None:
    what = task(model_config(name="gru4rec", dropout=dropout_rate), local_steps=2, window="random")
    compare(cohort(what), dropout)


@pytest.mark.parametrize("name", ["lookahead", "anchor"])
def test_regularisers_are_part_of_the_loss(name: str, dropout: dict[int, Tensor]) -> None:
    """Summed over the real positions only and divided by the fixed L, like the loss."""
    terms = ClientConfig(regularisers=(component(name, weight=0.3),))
    compare(cohort(replace(task(local_steps=3), client_config=terms)), dropout)


def test_dropout_drops_the_right_share_and_keeps_the_mean(dropout: dict[int, Tensor]) -> None:
    cohort(task(local_steps=3), [11] * 30).train()
    drawn = torch.stack(list(dropout.values()))
    p = round(0.3 * 65536) / 65536
    assert drawn.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)])
    assert float((drawn == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    first = drawn[0]
    assert not torch.equal(first[0], first[1])  # a local step has masks of its own
    assert not torch.equal(drawn[0], drawn[1])  # and so has a device


def outside_in(*pattern: str) -> list[int]:
    """A history of items in the slice (i) and outside of it (o), all different."""
    inside = iter(SLICE)
    outside = iter(set(range(1, 31)) - set(SLICE))
    return [next(inside) if mark == "i" else next(outside) for mark in pattern]


def of(items: list[int], **train: Any) -> DeviceUpdates:
    history = torch.tensor(items, dtype=torch.int32).numpy()
    return Cohort(task(model_config(dropout=0.0), **train), [0], [history], key=5).train()


@pytest.mark.parametrize("loss", ["softmax", "bce", "gbce"])
def test_next_items_outside_the_slice_do_not_count(loss: str) -> None:
    silent = of(outside_in("i", "o", "o"), loss=loss)
    assert not bool(silent.rows.any())
    assert not bool(silent.encoder.any())
    heard = of(outside_in("i", "o", "i"), loss=loss)
    assert bool(heard.rows.any(dim=2).all())


def test_rows_outside_the_slice_are_read_and_never_written() -> None:
    items = outside_in("o", "i")
    what = task(model_config(dropout=0.0), local_steps=2)
    history = torch.tensor(items, dtype=torch.int32).numpy()
    before = what.model.table.clone()
    first = Cohort(what, [0], [history], key=5).train()
    assert torch.equal(what.model.table, before)
    assert first.items.tolist() == list(SLICE)
    what.model.table[items[0], 0] += 0.5  # the row it read; in all dimensions a layer norm would undo it
    assert not torch.allclose(Cohort(what, [0], [history], key=5).train().rows, first.rows)
    what.model.table[items[0], 0] -= 0.5
    other = next(i for i in range(1, 31) if i not in SLICE and i != items[0])
    what.model.table[other] += 0.5  # a row it has nothing to do with
    torch.testing.assert_close(
        Cohort(what, [0], [history], key=5).train().rows, first.rows, rtol=0, atol=1e-6
    )


def test_a_row_of_the_slice_is_read_as_the_device_has_changed_it() -> None:
    """With two steps the second must see the first's input rows, and not the global ones."""
    what = task(model_config(dropout=0.0), local_steps=2)
    history = torch.tensor(outside_in("i", "i"), dtype=torch.int32).numpy()
    encoder, rows = train_one(
        what, history, what.items.long(), what.log_q, torch.ones(2, 5, 1, 1).expand(2, 5, 1, 8)
    )
    updates = Cohort(what, [0], [history], key=5).train()
    torch.testing.assert_close(updates.encoder[0], encoder, **CLOSE)
    torch.testing.assert_close(updates.rows[0], rows[what.items.long()], **CLOSE)


def test_one_interaction_has_one_size_however_short_the_history() -> None:
    """Σ loss / L with the fixed L: a second interaction adds to the first, it does not share with it."""
    loss = {"loss": "bce"}
    what = task(model_config(name="gru4rec", dropout=0.0), **loss)

    def rows(items: list[int]) -> Tensor:
        history = torch.tensor(items, dtype=torch.int32).numpy()
        return Cohort(what, [0], [history], key=5).train().rows[0]

    a, b = outside_in("o", "i")
    c = outside_in("o", "o")[1]
    torch.testing.assert_close(rows([a, b]), rows([a, b, c]), **CLOSE)  # c does not count, b is unchanged
    halved = task(model_config(name="gru4rec", dropout=0.0, max_len=20), **loss)
    history = torch.tensor([a, b], dtype=torch.int32).numpy()
    torch.testing.assert_close(
        2 * Cohort(halved, [0], [history], key=5).train().rows[0], rows([a, b]), **CLOSE
    )


def test_every_awkward_length_trains(dropout: dict[int, Tensor]) -> None:
    updates = compare(cohort(task(), LENGTHS), dropout)
    assert updates.history.tolist() == [min(n, 11) for n in LENGTHS]
    assert not bool(updates.rows[:2].any())  # no pair, no update
    assert not bool(updates.encoder[:2].any())
    assert bool(torch.isfinite(updates.rows).all())
