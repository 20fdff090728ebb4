"""LRURec against a loop over complex states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import erf

from tests.common.models.samples import MAX_LEN, build, nothing, padded, sequence
from tests.common.models.test_sasrec import Array, layer_norm


def feed(w: dict[str, Any], p: str, x: Array) -> Array:
    """LN(x + W_2·GELU(W_1·x + b_1) + b_2), row by row."""
    inner = x @ w[p + "inner.weight"].T + w[p + "inner.bias"]
    inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
    x = x + inner @ w[p + "outer.weight"].T + w[p + "outer.bias"]
    return np.stack([layer_norm(r, w[p + "norm.weight"], w[p + "norm.bias"]) for r in x])


def slow(model: Any, items: Array, blocks: int) -> Array:
    w: dict[str, Any] = {k: v.detach().double().numpy() for k, v in model.named_parameters()}
    x = np.stack([layer_norm(r, w["norm.weight"], w["norm.bias"]) for r in items])
    for b in range(blocks):
        p = f"blocks.{b}."
        m = p + "mixer."
        decay = np.exp(-np.exp(-w[m + "decay"])) * np.exp(1j * np.exp(w[m + "angle"]))  # λ
        weight = w[m + "real_in.weight"] + 1j * w[m + "imaginary_in.weight"]
        bias = w[m + "real_in.bias"] + 1j * w[m + "imaginary_in.bias"]
        out = w[m + "real_out.weight"] + 1j * w[m + "imaginary_out.weight"]
        state, mixed = np.zeros(len(decay), dtype=complex), []
        for row in x:
            state = decay * state + w[m + "scale"] * (weight @ row + bias)
            mixed.append((out @ state).real + w[m + "real_out.bias"] + row)
        x = np.stack(
            [
                layer_norm(r + y, w[p + "mixer_norm.weight"], w[p + "mixer_norm.bias"])
                for r, y in zip(x, mixed, strict=True)
            ]
        )
        x = feed(w, p + "feed.", x)
    return x


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("length", [1, 2, 7, MAX_LEN])
def test_the_scan_by_doubling_is_the_recurrence(blocks: int, length: int) -> None:
    model, items = build("lrurec", blocks=blocks), sequence(length)
    expected = slow(model, items.double().numpy(), blocks)
    found = model(items, nothing(length)).detach().double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    found = model(*padded(items, MAX_LEN, 2.0))[-length:].detach().double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_it_has_no_positions() -> None:
    """The same parameters serve any length."""
    short, long = build("lrurec", max_len=4), build("lrurec", max_len=400)
    shapes = [{k: v.shape for k, v in model.named_parameters()} for model in (short, long)]
    assert shapes[0] == shapes[1]
    items = sequence(30)
    np.testing.assert_allclose(
        short(items, nothing(30)).detach(), long(items, nothing(30)).detach(), atol=1e-6
    )
