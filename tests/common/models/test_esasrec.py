"""eSASRec against its formula in float64, position by position."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from common.errors import ConfigError
from tests.common.models.samples import MAX_LEN, build, nothing, padded, sequence
from tests.common.models.test_sasrec import Array, layer_norm


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def attention(w: dict[str, Any], p: str, normed: Array, heads: int) -> Array:
    """Causal softmax attention before its output layer."""
    size = normed.shape[1] // heads
    found = np.zeros_like(normed)
    for t in range(len(normed)):
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            query = (w[p + "query.weight"] @ normed[t])[part]
            keys = normed[: t + 1] @ w[p + "key.weight"].T[:, part]
            weights = np.exp(keys @ query / math.sqrt(size))
            found[t, part] = weights / weights.sum() @ (normed[: t + 1] @ w[p + "value.weight"].T[:, part])
    return found


def slow(model: Any, items: Array, blocks: int, heads: int, position: bool = True) -> Array:
    w: dict[str, Any] = {k: v.detach().double().numpy() for k, v in model.named_parameters()}
    x = math.sqrt(items.shape[1]) * items
    if position:
        x = x + w["position"][-len(items) :]
    for b in range(blocks):
        p = f"blocks.{b}."
        normed = np.stack(
            [layer_norm(r, w[p + "attention_norm.weight"], w[p + "attention_norm.bias"]) for r in x]
        )
        mixed = attention(w, p, normed, heads) @ w[p + "output.weight"].T + w[p + "output.bias"]
        x = x + sigmoid(x @ w[p + "attention_gate.weight"].T + w[p + "attention_gate.bias"]) * mixed
        normed = np.stack([layer_norm(r, w[p + "feed_norm.weight"], w[p + "feed_norm.bias"]) for r in x])
        gate = normed @ w[p + "gate.weight"].T
        fed = (gate * sigmoid(gate) * (normed @ w[p + "inner.weight"].T)) @ w[p + "outer.weight"].T
        x = x + sigmoid(x @ w[p + "feed_gate.weight"].T + w[p + "feed_gate.bias"]) * fed
    return np.stack([layer_norm(r, w["norm.weight"], w["norm.bias"]) for r in x])


@pytest.mark.parametrize(("blocks", "heads"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("length", [1, MAX_LEN])
def test_it_is_the_formula(blocks: int, heads: int, length: int) -> None:
    model, items = build("esasrec", blocks=blocks, heads=heads), sequence(length)
    expected = slow(model, items.double().numpy(), blocks, heads)
    found = model(items, nothing(length)).detach().double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=5e-5)
    found = model(*padded(items, MAX_LEN, 2.0))[-length:].detach().double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=5e-5)


def test_without_positions_and_narrower() -> None:
    model, items = build("esasrec", params={"positions": "none", "expansion": 1}), sequence(5)
    assert "position" not in dict(model.named_parameters())
    assert model.get_parameter("blocks.0.gate.weight").shape == (8, 8)
    found = model(items, nothing(5)).detach().double().numpy()
    np.testing.assert_allclose(found, slow(model, items.double().numpy(), 2, 2, False), rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"expansion": 5}, "expansion 5; expected a whole number from 1 to 4"),
        ({"expansion": 10**9}, "expected a whole number from 1 to 4"),
        ({"expansion": True}, "expansion must be a whole number, given True"),
        ({"positions": "sinus"}, "positions 'sinus'; valid: learned, none"),
        ({"expansio": 2}, "model 'esasrec' has no parameter 'expansio': did you mean 'expansion'"),
    ],
)
def test_other_settings_are_refused(params: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build("esasrec", params=params)
