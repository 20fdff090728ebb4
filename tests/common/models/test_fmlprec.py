"""FMLP-Rec against the filter of its paper, by the fast Fourier transform of a sequence padded with zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.common.models.samples import MAX_LEN, build, nothing, padded, sequence
from tests.common.models.test_lrurec import feed
from tests.common.models.test_sasrec import Array, layer_norm


def slow(model: Any, items: Array, blocks: int, position: bool) -> Array:
    w: dict[str, Any] = {k: v.detach().double().numpy() for k, v in model.named_parameters()}
    length = len(items)
    x = items + (w["position"][-length:] if position else 0)
    x = np.stack([layer_norm(r, w["norm.weight"], w["norm.bias"]) for r in x])
    for b in range(blocks):
        p = f"blocks.{b}."
        size = 2 * MAX_LEN  # so long that nothing comes round
        spectrum = np.fft.rfft(x, size, axis=0) * np.fft.rfft(w[p + "mixer.taps"], size, axis=0)  # X ∘ W
        mixed = np.fft.irfft(spectrum, size, axis=0)[:length]
        x = np.stack([layer_norm(r, w[p + "mixer_norm.weight"], w[p + "mixer_norm.bias"]) for r in x + mixed])
        x = feed(w, p + "feed.", x)
    return x


@pytest.mark.parametrize("positions", ["learned", "none"])
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 7, MAX_LEN])
def test_it_is_the_filter_of_the_paper_without_wrapping_round(
    blocks: int, length: int, positions: str
) -> None:
    model, items = build("fmlprec", blocks=blocks, params={"positions": positions}), sequence(length)
    expected = slow(model, items.double().numpy(), blocks, positions == "learned")
    found = model(items, nothing(length)).detach().double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    found = model(*padded(items, MAX_LEN, 2.0))[-length:].detach().double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
