"""SASRec against loops in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from common.errors import ConfigError
from tests.common.models.samples import DIM, MAX_LEN, build, nothing, padded, sequence

Array = NDArray[np.float64]


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias


def slow(model: torch.nn.Module, items: Array, blocks: int, heads: int, keep: Array | None = None) -> Array:
    """Position by position and head by head, on a sequence without padding."""
    w: dict[str, Any] = {k: v.detach().double().numpy() for k, v in model.named_parameters()}
    length, dim = items.shape
    size = dim // heads
    keep = np.ones((1 + 2 * blocks, length, dim)) if keep is None else keep
    position = w["position"][len(w["position"]) - length :]
    x = np.stack([keep[0, t] * (math.sqrt(dim) * items[t] + position[t]) for t in range(length)])
    for b in range(blocks):
        p = f"blocks.{b}."
        scale, shift = w[p + "attention_norm.weight"], w[p + "attention_norm.bias"]
        normed = [layer_norm(x[t], scale, shift) for t in range(length)]
        attended = np.zeros_like(x)
        for t in range(length):
            for h in range(heads):
                part = slice(h * size, (h + 1) * size)
                query = (w[p + "query.weight"] @ normed[t])[part]
                logits = [
                    query @ (w[p + "key.weight"] @ normed[s])[part] / math.sqrt(size) for s in range(t + 1)
                ]
                weights = np.exp(np.array(logits) - max(logits))
                weights /= weights.sum()
                attended[t, part] = sum(
                    a * (w[p + "value.weight"] @ normed[s])[part] for s, a in enumerate(weights)
                )
        for t in range(length):
            out = w[p + "output.weight"] @ attended[t] + w[p + "output.bias"]
            x[t] = x[t] + keep[1 + 2 * b, t] * out
            fed = layer_norm(x[t], w[p + "feed_norm.weight"], w[p + "feed_norm.bias"])
            hidden = np.maximum(w[p + "inner.weight"] @ fed + w[p + "inner.bias"], 0)
            x[t] = x[t] + keep[2 + 2 * b, t] * (w[p + "outer.weight"] @ hidden + w[p + "outer.bias"])
    return np.stack([layer_norm(row, w["norm.weight"], w["norm.bias"]) for row in x])


@pytest.mark.parametrize(("blocks", "heads"), [(1, 1), (2, 2), (3, 4)])
@pytest.mark.parametrize("length", [1, 4, MAX_LEN])
def test_it_is_the_formula(blocks: int, heads: int, length: int) -> None:
    model, items = build("sasrec", blocks=blocks, heads=heads), sequence(length)
    found = model(items, nothing(length)).detach().double().numpy()
    expected = slow(model, items.double().numpy(), blocks, heads)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


def test_a_padded_sequence_is_the_formula_of_its_items() -> None:
    model, items = build("sasrec"), sequence(4)
    found = model(*padded(items, 9, 2.0))[-4:].detach().double().numpy()
    np.testing.assert_allclose(found, slow(model, items.double().numpy(), 2, 2), rtol=1e-4, atol=2e-5)


def test_dropout_multiplies_the_input_and_both_branches_of_a_block() -> None:
    model, items = build("sasrec"), sequence(6)
    keep = (torch.rand(5, 6, DIM, generator=torch.Generator().manual_seed(1)) > 0.4) / 0.6
    found = model(items, nothing(6), keep).detach().double().numpy()
    expected = slow(model, items.double().numpy(), 2, 2, keep.double().numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


def test_the_last_item_stands_at_the_last_position() -> None:
    """Moving the first positions does not move a short sequence."""
    model, items = build("sasrec"), sequence(3)
    before = model(items, nothing(3))
    with torch.no_grad():
        model.get_parameter("position")[: MAX_LEN - 3] *= 5.0
    assert torch.equal(model(items, nothing(3)), before)
    with torch.no_grad():
        model.get_parameter("position")[-1] *= -5.0
    assert not torch.allclose(model(items, nothing(3))[-1], before[-1], atol=1e-3)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match=r"model.dim \(8\) must be a multiple of model.heads \(3\)"):
        build("sasrec", heads=3)
