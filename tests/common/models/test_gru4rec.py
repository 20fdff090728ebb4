"""GRU4Rec against torch's own GRU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.common.models.samples import DIM, MAX_LEN, build, nothing, padded, sequence


def reference(model: nn.Module) -> nn.GRU:
    """nn.GRU with the same weights: its gates are (r, z, n) where ours are (z, r, n)."""
    gru = nn.GRU(DIM, DIM)
    named = dict(model.named_parameters())

    def reordered(weight: Tensor) -> Tensor:
        update, reset, new = weight.detach().split(DIM)
        return torch.cat([reset, update, new])

    with torch.no_grad():
        gru.weight_ih_l0.copy_(reordered(named["input.weight"]))
        gru.bias_ih_l0.copy_(reordered(named["input.bias"]))
        gru.weight_hh_l0.copy_(reordered(named["state.weight"]))
        gru.bias_hh_l0.zero_()
    return gru


def expected(model: nn.Module, items: Tensor, keep: Tensor | None = None) -> Tensor:
    named = dict(model.named_parameters())
    keep = torch.ones(2, 1, 1) if keep is None else keep
    normed = F.layer_norm(items, (DIM,), named["norm.weight"], named["norm.bias"])
    states, _ = reference(model)(normed * keep[0])
    return F.linear(states * keep[1], named["output.weight"], named["output.bias"])


@pytest.mark.parametrize("length", [1, 2, MAX_LEN])
def test_it_is_torchs_gru_between_a_norm_and_a_linear_layer(length: int) -> None:
    model, items = build("gru4rec"), sequence(length)
    torch.testing.assert_close(model(items, nothing(length)), expected(model, items), rtol=1e-4, atol=1e-5)


def test_padding_leaves_the_state_at_zero() -> None:
    model, items = build("gru4rec"), sequence(4)
    found = model(*padded(items, 9, 3.0))[-4:]
    torch.testing.assert_close(found, expected(model, items), rtol=1e-4, atol=1e-5)


def test_dropout_multiplies_input_and_state() -> None:
    model, items = build("gru4rec"), sequence(6)
    keep = (torch.rand(2, 6, DIM, generator=torch.Generator().manual_seed(1)) > 0.4) / 0.6
    torch.testing.assert_close(
        model(items, nothing(6), keep), expected(model, items, keep), rtol=1e-4, atol=1e-5
    )


def test_it_has_no_positions() -> None:
    """The same parameters serve any length."""
    short, long = build("gru4rec", max_len=4), build("gru4rec", max_len=400)
    assert {k: v.shape for k, v in short.named_parameters()} == {
        k: v.shape for k, v in long.named_parameters()
    }
    items = sequence(30)
    torch.testing.assert_close(short(items, nothing(30)), long(items, nothing(30)))
