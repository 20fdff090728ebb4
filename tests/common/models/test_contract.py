"""What training and ranking rely on, of every model in the registry."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call, grad, vmap

from tests.common.models.samples import DIM, MAX_LEN, NAMES, build, nothing, padded, sequence

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
EACH = pytest.mark.parametrize("name", NAMES)


@EACH
@pytest.mark.parametrize("length", [1, 2, 7, MAX_LEN])
def test_one_hidden_state_an_item(name: str, length: int) -> None:
    hidden = build(name)(sequence(length), nothing(length))
    assert hidden.shape == (length, DIM)
    assert hidden.dtype == torch.float32
    assert bool(torch.isfinite(hidden).all())


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
@pytest.mark.parametrize("length", [1, 2, 6, 9])
def test_padding_to_a_longer_bucket_changes_no_hidden_state(name: str, length: int) -> None:
    model, items = build(name), sequence(length)
    short = model(items, nothing(length))
    for bucket in range(length + 1, MAX_LEN + 1):
        torch.testing.assert_close(model(*padded(items, bucket))[-length:], short, **CLOSE)


@EACH
@pytest.mark.parametrize("length", [0, 1, 4, MAX_LEN])
@pytest.mark.parametrize("wanted", [1, 3, MAX_LEN])
def test_the_last_states_alone_are_the_last_of_all(name: str, length: int, wanted: int) -> None:
    model, (items, padding) = build(name), padded(sequence(length), MAX_LEN)
    found = model(items, padding, wanted=wanted)
    assert found.shape == (wanted, DIM)
    torch.testing.assert_close(found, model(items, padding)[-wanted:], **CLOSE)


@EACH
@settings(max_examples=20, deadline=None)
@given(length=st.integers(1, 9), filler=st.sampled_from([0.0, 1.0, -30.0, 1e4]))
def test_what_stands_in_the_padding_is_irrelevant(name: str, length: int, filler: float) -> None:
    model, items = build(name), sequence(length)
    clean, dirty = (model(*padded(items, MAX_LEN, value))[-length:] for value in (0.0, filler))
    torch.testing.assert_close(clean, dirty, **CLOSE)


@EACH
def test_padding_gets_no_gradient(name: str) -> None:
    model = build(name)
    rows, padding = padded(sequence(4), MAX_LEN, 0.3)
    rows.requires_grad_()
    model(rows, padding)[-4:].square().sum().backward()
    assert rows.grad is not None
    assert bool((rows.grad[padding].abs() < 1e-6).all())
    assert bool((rows.grad[~padding].abs().amax(1) > 1e-4).all())


@EACH
def test_every_parameter_learns(name: str) -> None:
    model = build(name)
    weights = sequence(MAX_LEN, seed=5)
    (model(sequence(MAX_LEN), nothing(MAX_LEN)) * weights).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert bool((parameter.grad.abs() > 1e-7).float().mean() > 0.4), parameter_name


@EACH
@pytest.mark.parametrize("length", [0, 1])
def test_all_but_one_or_all_padded_is_finite_with_its_gradient(name: str, length: int) -> None:
    model = build(name)
    rows, padding = padded(sequence(length), MAX_LEN)
    rows.requires_grad_()
    hidden = model(rows, padding)
    hidden.sum().backward()
    assert bool(torch.isfinite(hidden).all())
    assert rows.grad is not None
    assert bool(torch.isfinite(rows.grad).all())
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)


@EACH
def test_a_map_over_users_equals_a_loop(name: str) -> None:
    model = build(name)
    users = [padded(sequence(n, seed=n), MAX_LEN) for n in (1, 4, 7, 10)]
    rows, padding = (torch.stack(part) for part in zip(*users, strict=True))
    loop = torch.stack([model(r, p) for r, p in users])
    torch.testing.assert_close(vmap(model)(rows, padding), loop, **CLOSE)


@EACH
def test_the_mapped_gradient_equals_a_loop(name: str) -> None:
    """A copy of the parameters for each user, as local training maps it."""
    model = build(name)
    named = {key: p.detach() for key, p in model.named_parameters()}
    users = [padded(sequence(n, seed=n), MAX_LEN) for n in (2, 5, 10)]
    rows, padding = (torch.stack(part) for part in zip(*users, strict=True))

    def loss(parameters: dict[str, torch.Tensor], r: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = functional_call(model, parameters, (r, p))
        return hidden[-1].square().sum()

    mapped = vmap(grad(loss), in_dims=(None, 0, 0))(named, rows, padding)
    for place, (r, p) in enumerate(users):
        model.zero_grad()
        model(r, p)[-1].square().sum().backward()
        for key, parameter in model.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(mapped[key][place], expected, rtol=1e-3, atol=1e-4)


@EACH
def test_dropout_multipliers_of_one_are_no_dropout_and_every_site_acts(name: str) -> None:
    model, items = build(name), sequence(6)
    plain = model(items, nothing(6))
    sites = int(model.dropout_sites)
    torch.testing.assert_close(model(items, nothing(6), torch.ones(sites, 6, DIM)), plain)
    torch.testing.assert_close(model(items, nothing(6), torch.ones(sites, 1, 1)), plain)
    for site in range(sites):
        keep = torch.ones(sites, 6, DIM)
        keep[site] = 0.0
        assert not torch.allclose(model(items, nothing(6), keep), plain, atol=1e-3)
    with pytest.raises((IndexError, RuntimeError)):
        model(items, nothing(6), torch.ones(sites - 1, 6, DIM))


@EACH
def test_a_model_has_no_hidden_state_between_calls(name: str) -> None:
    model = build(name)
    first = model(sequence(6), nothing(6))
    model(sequence(9, seed=3), nothing(9))
    assert torch.equal(model(sequence(6), nothing(6)), first)
    assert not dict(model.named_buffers())


@EACH
def test_the_order_of_the_items_matters(name: str) -> None:
    model, items = build(name), sequence(6)
    reversed_head = torch.cat([items[:5].flip(0), items[5:]])
    a, b = model(items, nothing(6))[-1], model(reversed_head, nothing(6))[-1]
    assert not torch.allclose(a, b, atol=1e-3)
