"""BERT4Rec against its formula in float64; what training hides from it is in tests/client/test_targets.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf

from common.errors import ConfigError
from tests.common.models.samples import MAX_LEN, build, nothing, padded, sequence
from tests.common.models.test_lrurec import feed
from tests.common.models.test_sasrec import Array, layer_norm


def slow(model: Any, tokens: Array, hidden: list[int], blocks: int, heads: int) -> Array:
    """States of all tokens, right-aligned; those at ``hidden`` are [MASK]. Everyone sees everyone."""
    w: dict[str, Any] = {k: v.detach().double().numpy() for k, v in model.named_parameters()}
    length, dim = tokens.shape
    x = tokens.copy()
    x[hidden] = w["mask"][0]
    x = x + w["position"][-length:]
    x = np.stack([layer_norm(r, w["input_norm.weight"], w["input_norm.bias"]) for r in x])
    for b in range(blocks):
        p = f"blocks.{b}."
        mixed = np.zeros_like(x)
        for part in np.split(np.arange(dim), heads):
            q, k, v = (x @ w[p + f"{name}.weight"].T[:, part] for name in ("query", "key", "value"))
            weights = np.exp(q @ k.T / math.sqrt(len(part)))
            mixed[:, part] = weights / weights.sum(1, keepdims=True) @ v
        x = x + mixed @ w[p + "output.weight"].T + w[p + "output.bias"]
        x = np.stack([layer_norm(r, w[p + "attention_norm.weight"], w[p + "attention_norm.bias"]) for r in x])
        x = feed(w, p + "feed.", x)
    z = x @ w["output.weight"].T + w["output.bias"]
    z = z * (1 + erf(z / np.sqrt(2))) / 2
    return np.stack([layer_norm(r, w["norm.weight"], w["norm.bias"]) for r in z])


def beyond(items: torch.Tensor) -> Array:
    """The items and a place for one more."""
    return np.concatenate([items.double().numpy(), np.zeros((1, items.shape[1]))])


@pytest.mark.parametrize(("blocks", "heads"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("length", [1, 2, MAX_LEN])
def test_the_next_item_is_asked_for_by_a_mask_after_the_last(blocks: int, heads: int, length: int) -> None:
    model, items = build("bert4rec", blocks=blocks, heads=heads), sequence(length)
    expected = slow(model, beyond(items), [length], blocks, heads)[-1]
    for found in (model(items, nothing(length)), model(*padded(items, MAX_LEN, 2.0))):
        np.testing.assert_allclose(found[-1].detach(), expected, rtol=1e-3, atol=1e-4)


def test_an_earlier_state_knows_the_items_up_to_there_alone() -> None:
    """As if the later ones were not there, the mask at its own place."""
    model, items = build("bert4rec", blocks=1), sequence(6)
    with torch.no_grad():
        position = model.get_parameter("position")
        position.copy_(position[:1].clone())  # alike everywhere
    found = model(items, nothing(6))
    for t in range(6):
        expected = slow(model, beyond(items[: t + 1]), [t + 1], 1, 2)[-1]
        np.testing.assert_allclose(found[t].detach(), expected, rtol=1e-3, atol=1e-4)


def test_hidden_items_are_predicted_from_both_sides() -> None:
    model, items = build("bert4rec"), sequence(7)
    masked = torch.tensor([0, 0, 1, 0, 1, 0, 0], dtype=torch.bool)
    found = model(items, nothing(7), masked=masked).detach()
    expected = slow(model, beyond(items), [2, 4, 7], 2, 2)
    np.testing.assert_allclose(
        found, expected[1:], rtol=1e-3, atol=1e-4
    )  # state t is of what stands at t + 1
    some = model(items, nothing(7), None, torch.tensor([6, 1, 3]), masked)
    np.testing.assert_allclose(some.detach(), found[[6, 1, 3]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_it_hides_some_items_and_not_all(share: float) -> None:
    with pytest.raises(ConfigError, match="expected a share between 0 and 1|cloze must be a finite number"):
        build("bert4rec", params={"cloze": share})
