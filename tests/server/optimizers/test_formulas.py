"""Each rule against a row-by-row float64 version that keeps one history a row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from server.optimizers import schedule
from tests.server.optimizers.test_steps import D, N, ParameterUpdate, update, walk

ROUNDS = [update(seed) for seed in range(12)]
"""Slices of four of nine rows: every row has its own number of rounds."""


def table_after(name: str, rounds: list[ParameterUpdate], **params: object) -> np.ndarray:
    return walk(name, rounds, **params)[: (N + 1) * D].reshape(N + 1, D).double().numpy()


def seen(rounds: list[ParameterUpdate]) -> dict[int, list[np.ndarray]]:
    """The updates of each row, in order."""
    history: dict[int, list[np.ndarray]] = {}
    for u in rounds:
        for item, row in zip(u.items.tolist(), u.rows.double().numpy(), strict=True):
            history.setdefault(item, []).append(row)
    return history


def test_the_rounds_exercise_rows_unevenly() -> None:
    assert len({len(rows) for rows in seen(ROUNDS).values()}) > 2


@pytest.mark.parametrize("name", ["adam", "yogi"])
def test_adam_and_yogi_by_row(name: str) -> None:
    b1, b2, eps = 0.8, 0.9, 1e-3
    expected = np.zeros((N + 1, D))
    for item, rows in seen(ROUNDS).items():
        m, v = np.zeros(D), np.zeros(D)
        for t, u in enumerate(rows, start=1):
            m = b1 * m + (1 - b1) * u
            v = b2 * v + (1 - b2) * u**2 if name == "adam" else v - (1 - b2) * np.sign(v - u**2) * u**2
            expected[item] += 0.1 * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    ours = table_after(name, ROUNDS, beta1=b1, beta2=b2, eps=eps)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_block_adam_by_block() -> None:
    b1, b2, eps = 0.8, 0.9, 1e-3
    expected, m, count, v = np.zeros((N + 1, D)), np.zeros((N + 1, D)), np.zeros(N + 1), 0.0
    for t, u in enumerate(ROUNDS, start=1):
        rows, at = u.rows.double().numpy(), u.items.numpy()
        v = b2 * v + (1 - b2) * float((rows**2).mean())
        m[at] = b1 * m[at] + (1 - b1) * rows
        count[at] += 1
        first = m[at] / (1 - b1 ** count[at])[:, None]
        expected[at] += 0.1 * first / (np.sqrt(v / (1 - b2**t)) + eps)
    ours = table_after("block_adam", ROUNDS, beta1=b1, beta2=b2, eps=eps)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_block_adam_treats_every_encoder_tensor_as_a_block_of_its_own() -> None:
    one = update(0)
    loud = ParameterUpdate(one.encoder | {"norm": 1000 * one.encoder["norm"]}, one.rows, one.items)
    torch.testing.assert_close(walk("block_adam", [loud]), walk("block_adam", [one]), rtol=1e-4, atol=1e-6)


def test_block_adam_keeps_a_tiny_row_tiny_where_adam_makes_it_full_size() -> None:
    u = update(0, [1, 2, 3, 4])
    rows = u.rows.clone()
    rows[3] *= 1e-4
    quiet = [ParameterUpdate(u.encoder, rows, u.items)]
    assert np.abs(table_after("adam", quiet)[4]).min() > 0.09
    assert np.abs(table_after("block_adam", quiet)[4]).max() < 1e-3


def test_rowwise_adagrad_by_row() -> None:
    expected = np.zeros((N + 1, D))
    for item, rows in seen(ROUNDS).items():
        total = 0.0
        for u in rows:
            total += float((u**2).mean())
            expected[item] += 0.1 * u / (np.sqrt(total) + 1e-8)
    np.testing.assert_allclose(table_after("rowwise_adagrad", ROUNDS), expected, rtol=1e-4, atol=1e-6)


def test_yogi_forgets_more_slowly_than_adam_after_a_burst() -> None:
    quiet = update(0, [1])
    burst = ParameterUpdate(quiet.encoder, 100 * quiet.rows, quiet.items)
    rounds = [burst] + [quiet] * 40
    last = {
        name: np.abs(
            table_after(name, rounds, beta1=0.0, beta2=0.8)
            - table_after(name, rounds[:-1], beta1=0.0, beta2=0.8)
        )[1]
        for name in ("adam", "yogi")
    }
    assert (last["yogi"] < last["adam"]).all()


@pytest.mark.parametrize(
    ("number", "expected"), [(1, 0.1), (5, 0.5), (10, 1.0), (61, 1.0), (81, 0.5), (99, 0.05), (100, 0.025)]
)
def test_schedule_warms_up_and_falls_to_zero(number: int, expected: float) -> None:
    assert schedule(1.0, number, 100, 10, 0.6) == pytest.approx(expected)


def test_schedule_without_warm_up_and_without_decay() -> None:
    assert [schedule(2.0, t, 50, 0, 1.0) for t in (1, 25, 50)] == [2.0, 2.0, 2.0]
    assert [schedule(2.0, t, 50, 0, 0.0) for t in (1, 26, 50)] == [2.0, 1.0, 0.04]
