"""HSTU against its formula in float64, position by position."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from common.errors import ConfigError
from tests.common.models.samples import MAX_LEN, build, nothing, padded, sequence
from tests.common.models.test_esasrec import sigmoid
from tests.common.models.test_sasrec import Array, layer_norm


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def slow(model: Any, items: Array, blocks: int, heads: int, position: bool) -> Array:
    w: dict[str, Any] = {k: v.detach().double().numpy() for k, v in model.named_parameters()}
    dim = items.shape[1]
    x = math.sqrt(dim) * items + (w["position"][-len(items) :] if position else 0)
    for b in range(blocks):
        p = f"blocks.{b}."
        normed = np.stack([layer_norm(r, w[p + "input_norm.weight"], w[p + "input_norm.bias"]) for r in x])
        u, v, q, k = np.split(silu(normed @ w[p + "input.weight"].T + w[p + "input.bias"]), 4, axis=1)
        mixed = np.zeros_like(x)
        for t in range(len(x)):
            for part in np.split(np.arange(dim), heads):
                for s in range(t + 1):
                    logit = q[t, part] @ k[s, part] + w[p + "distance_bias"][t - s]
                    mixed[t, part] += silu(logit) / MAX_LEN * v[s, part]
        scaled = []
        for row in mixed:
            z = (row - row.mean()) / np.sqrt(row.var() + 1e-6)
            scaled.append(z * w[p + "mixed_norm.weight"] + w[p + "mixed_norm.bias"])
        x = x + (np.stack(scaled) * u) @ w[p + "output.weight"].T + w[p + "output.bias"]
    return np.stack([layer_norm(r, w["norm.weight"], w["norm.bias"]) for r in x])


@pytest.mark.parametrize("positions", ["none", "learned"])
@pytest.mark.parametrize(("blocks", "heads"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("length", [1, MAX_LEN])
def test_it_is_the_formula(blocks: int, heads: int, length: int, positions: str) -> None:
    model = build("hstu", blocks=blocks, heads=heads, params={"positions": positions})
    items = sequence(length)
    expected = slow(model, items.double().numpy(), blocks, heads, positions == "learned")
    found = model(items, nothing(length)).detach().double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    found = model(*padded(items, MAX_LEN, 2.0))[-length:].detach().double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_other_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="positions 'relative'; valid: learned, none"):
        build("hstu", params={"positions": "relative"})
