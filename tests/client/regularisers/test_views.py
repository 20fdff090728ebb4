"""Two views, each made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from client.regularisers.base import CHANNELS, Own
from client.regularisers.views import TwoViews
from tests.client.regularisers.helpers import LENGTH, encoder, own, real

CROP, MASK, REORDER = 0.1, 0.5, 0.9
"""Values of the noise that choose each view."""


def chosen(mine: Own, first: float, second: float) -> Own:
    noise = mine.noise.clone()
    noise[0, -1], noise[3, -1] = first, second
    return replace(mine, noise=noise)


def view_by_hand(mine: Own, noise: Tensor, crop: float, mask: float, block: int) -> Tensor:
    """The last state of one view of the real items."""
    places = [p for p in range(LENGTH) if not mine.padding[p]]
    which = float(noise[0, -1])
    if which < 1 / 3:
        share = crop + (1 - crop) * float(noise[1, -1])
        return real(mine.inputs[places[-max(1, math.ceil(share * len(places))) :]], mine)[-1]
    if which < 2 / 3:
        hidden = mine.padding.clone()
        inputs = mine.inputs.clone()
        for p in places[:-1]:
            if float(noise[1, p]) < mask:
                hidden[p], inputs[p] = True, 0.0
        return mine.encode(inputs, hidden)[-1]
    places.sort(key=lambda p: (-((LENGTH - 1 - p) // block), float(noise[2, p])))
    return real(mine.inputs[places], mine)[-1]


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
@pytest.mark.parametrize("items", [1, 5, 8])
@pytest.mark.parametrize("first", [CROP, MASK, REORDER])
@pytest.mark.parametrize("second", [CROP, MASK, REORDER])
def test_the_agreement_is_that_of_views_made_by_hand(
    name: str, items: int, first: float, second: float
) -> None:
    mine = chosen(own(items, seed=items, model=encoder(name)), first, second)
    found = TwoViews(weight=0.4, crop=0.4, mask=0.5, block=3)(mine)
    a = view_by_hand(mine, mine.noise[:3], 0.4, 0.5, 3)
    b = view_by_hand(mine, mine.noise[3:], 0.4, 0.5, 3)
    expected = 0.4 * (1 - float(torch.cosine_similarity(a, b, dim=0)))
    assert float(found[-1]) == pytest.approx(expected, rel=1e-5, abs=1e-7)
    assert not bool(found[:-1].any())


def test_equal_views_agree_and_the_term_lies_between_0_and_2_weights() -> None:
    same = own(6)
    noise = same.noise.clone()
    noise[3:] = noise[:3]
    assert float(TwoViews()(replace(same, noise=noise))[-1]) == pytest.approx(0.0, abs=1e-7)
    for seed in range(20):
        assert 0 <= float(TwoViews(weight=0.5)(own(6, seed=seed))[-1]) <= 1.0


def test_nothing_hidden_is_the_sequence_itself() -> None:
    """crop 1 and mask 0 leave everything where it is."""
    mine = chosen(own(6), CROP, MASK)
    assert float(TwoViews(crop=1.0, mask=0.0)(mine)[-1]) == pytest.approx(0.0, abs=1e-7)
    assert float(TwoViews(crop=0.2, mask=0.0)(mine)[-1]) > 1e-6


def test_each_view_has_noise_of_its_own() -> None:
    assert CHANNELS == 6
    mine = own(8)
    for channel in range(CHANNELS):
        noise = mine.noise.clone()
        noise[[0, 3], -1] = {0: 0.9, 1: MASK, 2: REORDER}[channel % 3]
        before = TwoViews(mask=0.5)(replace(mine, noise=noise))[-1]
        other = noise.clone()
        other[channel] = 1 - other[channel]
        assert float(TwoViews(mask=0.5)(replace(mine, noise=other))[-1]) != float(before)
