"""HSTU against its formula in float64, position by position."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from client.cohort import Cohort
from client.ranking import last_hidden
from common.data.ragged import Ragged
from common.errors import ConfigError
from common.models import layout_of
from common.tasks import GlobalModel
from experiments.contracts.models import CHECKS
from tests.client.samples import model_config, task
from tests.common.models.samples import DIM, MAX_LEN, build, nothing, padded, sequence
from tests.common.models.test_esasrec import sigmoid
from tests.common.models.test_sasrec import Array, layer_norm


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def slow(
    model: Any, items: Array, blocks: int, heads: int, position: bool, times: Array | None = None
) -> Array:
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
                    if times is not None:
                        bucket = min(int(math.log(1 + times[t] - times[s], 4)), 15)
                        logit += w[p + "interval_bias"][bucket]
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


TIMES = np.array([5e8, 5e8 + 2, 5e8 + 2, 5e8 + 100, 5e8 + 9_000, 6e8, 2e9])
GAPS = torch.from_numpy(np.diff(TIMES, prepend=TIMES[0])).float()


def test_with_times_a_logit_knows_how_long_ago_an_item_was() -> None:
    model, items = build("hstu", params={"times": True}), sequence(7)
    found = model(items, nothing(7), gaps=GAPS).detach().double().numpy()
    expected = slow(model, items.double().numpy(), 2, 2, False, TIMES)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    rows, padding = padded(items, MAX_LEN, 2.0)
    gaps = torch.cat([torch.zeros(MAX_LEN - 7), GAPS])
    last = model(rows, padding, positions=torch.tensor([MAX_LEN - 1]), gaps=gaps)[0]
    np.testing.assert_allclose(last.detach(), expected[-1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(model(items, nothing(7)), model(items, nothing(7), gaps=0 * GAPS))
    assert not np.allclose(model(items, nothing(7)).detach(), found, atol=1e-3)


def test_with_times_it_keeps_the_promises_of_a_model() -> None:
    for check in CHECKS:
        check(lambda: build("hstu", params={"times": True}))


def test_ranking_reads_the_times_of_a_log() -> None:
    model, g = build("hstu", params={"times": True}), torch.Generator().manual_seed(1)
    encoder = layout_of(model).flatten({name: p.detach() for name, p in model.named_parameters()})
    shared = GlobalModel(encoder, torch.randn(20, DIM, generator=g))
    histories = Ragged.of(
        [np.array(part, dtype=np.int32) for part in ([3, 4, 9], range(1, 8), [5])], np.int32
    )
    times = Ragged.of([TIMES[:3], TIMES, TIMES[:1]], np.float64)
    found = last_hidden(model, shared, histories, MAX_LEN, times)
    for place, items in enumerate(histories):
        rows = shared.table[torch.from_numpy(items).long()]
        expected = model(rows, nothing(len(rows)), gaps=GAPS[: len(rows)])[-1]
        torch.testing.assert_close(found[place], expected, rtol=1e-4, atol=1e-5)


def test_devices_train_on_the_times_of_their_windows() -> None:
    what = task(model_config(name="hstu", dropout=0.0, params={"times": True}), negatives="full")
    items = [np.arange(1, 8, dtype=np.int32)]
    timed, other = (Cohort(what, [0], items, times=[t], key=5).train() for t in (TIMES, 3 * TIMES))
    plain = Cohort(what, [0], items, key=5).train()
    assert not torch.allclose(timed.encoder, plain.encoder, atol=1e-4)
    assert not torch.allclose(timed.encoder, other.encoder, atol=1e-4)


def test_a_gap_of_ten_years_does_not_blur_the_seconds_after_it() -> None:
    model = build("hstu", params={"times": True})
    padding = torch.zeros(5, dtype=torch.bool)
    with torch.no_grad():
        for block in model.blocks:
            block.interval_bias.copy_(torch.arange(len(block.interval_bias)))
    near, far = torch.tensor([0.0, 60, 10, 20, 1]), torch.tensor([0.0, 3e8, 10, 20, 1])
    a, b = (model.biases(padding, gaps, torch.float32)[0] for gaps in (near, far))
    assert torch.equal(a[1:, 1:], b[1:, 1:])  # all that is within 31 seconds
    assert not torch.equal(a[1:, 0], b[1:, 0])


def test_other_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="times must be true or false, given 1"):
        build("hstu", params={"times": 1})
    with pytest.raises(ConfigError, match="positions 'relative'; valid: learned, none"):
        build("hstu", params={"positions": "relative"})
