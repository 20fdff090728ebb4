"""Training and ranking on code rows, against autograd on a table that is written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

import client.tiles
from client.cohort import Cohort
from client.ranking import answer_ranks, evaluate, score
from common.config import ClientConfig, ModelConfig
from common.data.ragged import Ragged
from common.data.types import Items
from common.models import build_model, initial, layout_of
from common.seeding import generator
from common.settings import component
from common.tasks import GlobalModel, TrainTask
from tests.client.oracle import position_loss
from tests.client.regularisers.helpers import REORDERED
from tests.client.samples import ITEMS, SLICE, cohort, histories, model_config, task

BOOKS, ROWS = 3, 7
CLOSE = {"rtol": 1e-4, "atol": 3e-5}


def coded(**changes: object) -> ModelConfig:
    return model_config(**{"code_books": BOOKS, "code_rows": ROWS, "dropout": 0.0, **changes})


def members(item: int) -> list[int]:
    """The rows of an item: base-7 digits of item - 1, as a line through the books."""
    low, high = (item - 1) % ROWS, (item - 1) // ROWS
    return [1 + book * ROWS + (low + book * high) % ROWS for book in range(BOOKS)]


WHICH = torch.zeros(ITEMS + 1, BOOKS * ROWS + 1)
"""Which item has which row, [N + 1, R + 1]."""
for number in range(1, ITEMS + 1):
    WHICH[number, members(number)] = BOOKS**-0.5


def reference(what: TrainTask, window: Items) -> tuple[Tensor, Tensor]:
    """One device's update of encoder [P] and table [R + 1, d], by autograd on WHICH @ table."""
    model = build_model(what.model_config)
    layout = layout_of(model)
    encoder, table = what.model.encoder.clone(), what.model.table.clone()
    sequence, place = torch.from_numpy(window).long(), {int(i): k for k, i in enumerate(what.items)}
    for _ in range(what.train_config.local_steps):
        encoder, table = encoder.requires_grad_(), table.requires_grad_()
        items = WHICH @ table  # [N + 1, d]
        total = 0.0 * (encoder.sum() + table.sum())
        if len(sequence) > 1:
            inputs = items[sequence[:-1]], torch.zeros(len(sequence) - 1, dtype=torch.bool)
            hidden = functional_call(model, layout.unflatten(encoder), inputs)
            scores = hidden @ items[what.items.long()].T
            for t, answer in enumerate(sequence[1:].tolist()):
                if answer in place:
                    loss = what.train_config.loss
                    total = total + position_loss(loss, scores[t], what.log_q, place[answer], ITEMS)
        slopes = torch.autograd.grad(total / what.model_config.max_len, (encoder, table))
        encoder, table = (
            (value - what.train_config.local_lr * slope).detach()
            for value, slope in zip((encoder, table), slopes, strict=True)
        )
    return encoder - what.model.encoder, table - what.model.table


@pytest.mark.parametrize("loss", ["softmax", "gbce"])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("negatives", ["slice", "full"])
@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_a_step_on_code_rows_is_that_of_autograd(name: str, negatives: str, steps: int, loss: str) -> None:
    what = task(coded(name=name), negatives=negatives, local_steps=steps, loss=loss, local_lr=0.2)
    own = cohort(what, (1, 2, 5, 11, 25))
    updates = own.train()
    assert updates.rows.shape == (5, BOOKS * ROWS, what.model.table.shape[1])
    assert updates.items.tolist() == list(range(1, BOOKS * ROWS + 1))
    for i, window in enumerate(own.windows):
        encoder, table = reference(what, window)
        torch.testing.assert_close(updates.encoder[i], encoder, **CLOSE)
        torch.testing.assert_close(updates.rows[i], table[1:], **CLOSE)
    assert float(updates.rows[-1].abs().max()) > 1e-3
    assert not bool(updates.rows[0].any())  # one interaction predicts nothing


def test_one_interaction_moves_an_embedding_as_far_as_a_row_of_its_own() -> None:
    """The target's embedding, where no other item of the slice shares its rows."""
    plain = task(model_config(dropout=0.0), loss="bce")
    items = torch.tensor([1, 9, 17], dtype=torch.int32)  # (i - 1) mod 7 and every line differ
    assert not set(members(1)) & {*members(9), *members(17), *members(4)}
    config = coded()
    table = torch.linalg.lstsq(WHICH[1:, 1:], plain.model.table[1:], driver="gelsd").solution
    shared, _ = initial(config, ITEMS, generator(0, "m"))
    shared = replace(shared, encoder=plain.model.encoder, table=F.pad(table, (0, 0, 1, 0)))
    history = [np.array([4, 1], dtype=np.int32)]
    moved = []
    for model, settings in (
        (replace(shared), config),
        (GlobalModel(shared.encoder, shared.embeddings), plain.model_config),
    ):
        what = replace(plain, model=model, model_config=settings, items=items, log_q=torch.zeros(3))
        updates = Cohort(what, [0], history, key=5).train()
        after = model.table.index_add(0, updates.items.long(), updates.rows[0])
        moved.append(replace(model, table=after).embed(torch.tensor(1)) - model.embed(torch.tensor(1)))
    torch.testing.assert_close(moved[0], moved[1], **CLOSE)


def test_regularisers_and_dropout_work_on_code_rows() -> None:
    terms = ClientConfig(regularisers=(component("anchor", weight=0.3), component(REORDERED, weight=0.1)))
    what = replace(task(model_config(code_books=BOOKS, code_rows=ROWS), local_steps=2), client_config=terms)
    updates = cohort(what).train()
    assert bool(torch.isfinite(updates.rows).all())
    assert bool(updates.rows[-1].any())


def test_who_has_no_next_item_in_the_slice_is_idle() -> None:
    what = task(coded())
    outside = next(i for i in range(1, ITEMS + 1) if i not in SLICE)
    own = Cohort(what, [0, 1], [np.array([1, outside], np.int32), np.array([outside, 1], np.int32)], key=5)
    assert own.busy().tolist() == [1]
    assert not bool(own.train().rows[0].any())


def large(size: int) -> GlobalModel:
    config = coded(code_rows=101)
    return initial(config, size, generator(3, "large"))[0]


@pytest.mark.parametrize("size", [900, 9000])
def test_ranks_are_those_of_the_whole_table(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.tiles, "ITEMS", 1000)
    config = coded(code_rows=101)
    shared, encoder = large(size), build_model(coded()).eval()
    own = GlobalModel(shared.encoder, shared.embeddings)
    rng = np.random.default_rng(0)
    sequences = [rng.integers(1, size + 1, n % 12).astype(np.int32) for n in range(60)]
    answers = rng.integers(1, size + 1, 60)
    found, expected = (
        answer_ranks(encoder, model, sequences, answers, config.max_len) for model in (shared, own)
    )
    assert torch.equal(found, expected)
    about = (sequences, answers, (5, 7), (2, 5, 9), config.max_len)
    assert torch.equal(evaluate(encoder, shared, *about).exposure, evaluate(encoder, own, *about).exposure)
    assert torch.equal(score(encoder, shared, sequences[:3], 10), score(encoder, own, sequences[:3], 10))


def test_a_large_catalogue_is_never_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client.tiles, "ITEMS", 1000)
    model = large(9000)
    answer_ranks(build_model(coded()).eval(), model, Ragged.of(histories(), np.int32), [1] * 9, 10)
    assert "embeddings" not in vars(model)
