"""What training and ranking rely on, of every model in the registry."""

from __future__ import annotations

import pytest
import torch

from tests.common.models.samples import NAMES, build, nothing, sequence

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
EACH = pytest.mark.parametrize("name", NAMES)


@EACH
@pytest.mark.parametrize("changed", [0, 3, 9])
def test_an_item_changes_nothing_before_it_and_everything_after(name: str, changed: int) -> None:
    model, items = build(name), sequence(10)
    other = items.clone()
    other[changed] = sequence(1, seed=7)[0]  # a constant would vanish in a layer norm
    before, after = model(items, nothing(10)), model(other, nothing(10))
    assert torch.equal(before[:changed], after[:changed])
    moved = (before[changed:] - after[changed:]).abs().amax(dim=1)
    assert bool((moved > 1e-6).all())


@EACH
def test_the_order_of_the_items_matters(name: str) -> None:
    model, items = build(name), sequence(6)
    reversed_head = torch.cat([items[:5].flip(0), items[5:]])
    a, b = model(items, nothing(6))[-1], model(reversed_head, nothing(6))[-1]
    assert not torch.allclose(a, b, atol=1e-3)
