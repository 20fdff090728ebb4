"""UNION's loss on a device, against sums written out."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from client.regularisers.uniformity import Uniformity, contrast
from tests.client.regularisers.helpers import own

ROWS = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))


def contrasted(pairs: list[tuple[int, int]], candidates: list[bool] | None = None) -> list[float]:
    """Penalties of positions (input, next item) by their rows; item 5 is not in the slice of five."""
    outside = torch.randn(1, 4, generator=torch.Generator().manual_seed(3))
    inputs = torch.cat([ROWS, outside])[[i for i, _ in pairs]]
    target = torch.tensor([j for _, j in pairs])
    mine = replace(
        own(),
        inputs=inputs,
        rows=ROWS,
        target=target.clamp(max=4),
        counted=target < 5,
        candidates=torch.tensor(candidates or [True] * 5),
        held=torch.tensor([any(row in pair for pair in pairs) for row in range(5)]),
    )
    found: list[float] = Uniformity(weight=0.5, negatives=3)(mine).tolist()
    return found


def expected_contrast(i: int, j: int, others: list[int]) -> float:
    rows = ROWS.double()
    alike = float(torch.exp(rows[i] @ rows[j]))
    apart = sum(float(torch.exp(rows[i] @ rows[n])) for n in others) / len(others)
    return -0.5 * math.log(alike / (alike + 3 * apart))


def test_uniformity_is_the_contrast_of_neighbours_with_the_mean_of_the_rest() -> None:
    found = contrasted([(0, 5), (1, 2), (2, 0)])
    assert found == pytest.approx(
        [0.0, expected_contrast(1, 2, [3, 4]), expected_contrast(2, 0, [3, 4])], rel=1e-5
    )


def test_uniformity_leaves_out_rows_that_the_device_does_not_train() -> None:
    found = contrasted([(1, 2)], [True, True, True, False, True])
    assert found == pytest.approx([expected_contrast(1, 2, [0, 4])], rel=1e-5)


def test_uniformity_without_another_item_is_silent() -> None:
    assert contrasted([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)]) == [0.0] * 5


def test_uniformity_draws_neighbours_together_and_the_rest_away() -> None:
    rows = ROWS.clone().requires_grad_()
    pair = torch.tensor([1])
    yes = torch.ones(1, dtype=torch.bool)
    contrast(rows[:1], rows, pair, yes, torch.ones(5, dtype=torch.bool), 15).sum().backward()
    assert rows.grad is not None
    with torch.no_grad():
        after = rows - 0.01 * rows.grad
        assert float(after[0] @ after[1]) > float(rows[0] @ rows[1])
        assert float((after[0] @ after[2:].T).logsumexp(0)) < float((rows[0] @ rows[2:].T).logsumexp(0))


def test_without_negatives_there_is_nothing_to_contrast_with() -> None:
    with pytest.raises(ValueError, match="negatives must be at least 1"):
        Uniformity(negatives=0)
