"""What training and ranking rely on, of every model; each is written for ONE user's sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from common.config import ModelConfig
from common.models import build_model
from experiments.contracts import require

DIM, MAX_LEN = 8, 10
Make = Callable[[], nn.Module]


def build(name: str, seed: int = 0, **changes: Any) -> nn.Module:
    """The model with every parameter drawn, so that a mistake cannot hide behind a zero or a one."""
    settings = {"name": name, "dim": DIM, "max_len": MAX_LEN, "blocks": 2, "heads": 2} | changes
    model = build_model(ModelConfig.model_validate(settings))
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=g))
            if parameter.dim() == 1:
                parameter.add_(0.7)
    return model


def sequence(length: int, seed: int = 0, dim: int = DIM) -> Tensor:
    """Item rows [L, d]."""
    return torch.randn(length, dim, generator=torch.Generator().manual_seed(seed))


def nothing(length: int) -> Tensor:
    """No padding: bool [L]."""
    return torch.zeros(length, dtype=torch.bool)


def padded(items: Tensor, length: int, filler: float = 0.0) -> tuple[Tensor, Tensor]:
    """(items [ℓ, d], padding [ℓ]) with the sequence on the right and ``filler`` on the left."""
    spare = length - len(items)
    rows = torch.cat([torch.full((spare, items.shape[1]), filler), items])
    return rows, torch.arange(length) < spare


def close(a: Tensor, b: Tensor, sentence: str) -> None:
    """Raise AssertionError unless the two are equal but for rounding."""
    require(a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5), sentence)


def form(make: Make) -> None:
    """One finite float32 hidden state [d] an item."""
    for length in (1, 2, 7, MAX_LEN):
        hidden = make()(sequence(length), nothing(length))
        require(hidden.shape == (length, DIM), f"{length} items give hidden states {tuple(hidden.shape)}")
        require(hidden.dtype == torch.float32, f"hidden states are {hidden.dtype}")
        require(bool(torch.isfinite(hidden).all()), f"hidden states of {length} items are not finite")


def causal(make: Make) -> None:
    """An item changes its own hidden state and none before it: the next item must not be seen."""
    model, items = make(), sequence(10)
    for changed in (0, 3, 9):
        other = items.clone()
        other[changed] = sequence(1, seed=7)[0]  # a constant would vanish in a layer norm
        before, after = model(items, nothing(10)), model(other, nothing(10))
        require(torch.equal(before[:changed], after[:changed]), f"item {changed} changes a state before it")
        moved = float((before[changed] - after[changed]).abs().max().detach())
        require(moved > 1e-6, f"item {changed} does not change its own hidden state")


def buckets(make: Make) -> None:
    """Padding on the left, whatever stands in it, changes no hidden state."""
    model = make()
    for length in (1, 2, 6, 9):
        items = sequence(length)
        short = model(items, nothing(length))
        for bucket in range(length + 1, MAX_LEN + 1):
            for filler in (0.0, 1.0, -30.0, 1e4):
                found = model(*padded(items, bucket, filler))[-length:]
                close(found, short, f"{length} items padded to {bucket} with {filler:g} give other states")


def some_positions(make: Make) -> None:
    """With ``positions`` the states of these alone are the same as among all."""
    model = make()
    for length in (0, 1, 4, MAX_LEN):
        items, padding = padded(sequence(length), MAX_LEN)
        for some in ([MAX_LEN - 1], [MAX_LEN - 1, 0, MAX_LEN - 3], list(range(MAX_LEN))):
            states = model(items, padding, positions=torch.tensor(some))
            close(states, model(items, padding)[some], f"positions={some} gives other states")


def padding_is_silent(make: Make) -> None:
    """Padding gets no gradient, and every item does."""
    rows, padding = padded(sequence(4), MAX_LEN, 0.3)
    rows.requires_grad_()
    make()(rows, padding)[-4:].square().sum().backward()
    require(rows.grad is not None, "no gradient reaches the items")
    assert rows.grad is not None
    require(bool((rows.grad[padding].abs() < 1e-6).all()), "a gradient reaches the padding")
    require(bool((rows.grad[~padding].abs().amax(1) > 1e-4).all()), "no gradient reaches some item")


def learns(make: Make) -> None:
    """Every parameter gets a gradient."""
    model = make()
    # Times from seconds to years apart, so that no number of a model that reads them lies idle.
    when = {"gaps": 8.0 ** torch.arange(MAX_LEN)} if getattr(model, "timed", False) else {}
    (model(sequence(MAX_LEN), nothing(MAX_LEN), **when) * sequence(MAX_LEN, seed=5)).sum().backward()
    require(list(model.parameters()), "it has no parameters")
    for name, parameter in model.named_parameters():
        found = parameter.grad
        moving = found is not None and bool((found.abs() > 1e-7).float().mean() > 0.4)
        require(moving, f"{name} gets no gradient, or most of it does not")


def short_histories(make: Make) -> None:
    """Of no item and of one item, states and gradients are finite."""
    for length in (0, 1):
        model = make()
        rows, padding = padded(sequence(length), MAX_LEN)
        rows.requires_grad_()
        hidden = model(rows, padding)
        hidden.sum().backward()
        grads = [rows.grad, *(p.grad for p in model.parameters())]
        finite = all(bool(torch.isfinite(g).all()) for g in (hidden, *grads) if g is not None)
        require(finite, f"a state or gradient of {length} items is not finite")


def mapped(make: Make) -> None:
    """A map over users (vmap) equals a loop: no control flow looks at values."""
    model = make()
    users = [padded(sequence(n, seed=n), MAX_LEN) for n in (1, 4, 7, 10)]
    rows, padding = (torch.stack(part) for part in zip(*users, strict=True))
    loop = torch.stack([model(r, p) for r, p in users])
    close(vmap(model)(rows, padding), loop, "mapped over users it gives other states")


def mapped_gradient(make: Make) -> None:
    """The mapped gradient equals a loop's, as local training maps it."""
    model = make()
    named = {key: p.detach() for key, p in model.named_parameters()}
    users = [padded(sequence(n, seed=n), MAX_LEN) for n in (2, 5, 10)]
    rows, padding = (torch.stack(part) for part in zip(*users, strict=True))

    def loss(parameters: dict[str, Tensor], r: Tensor, p: Tensor) -> Tensor:
        hidden: Tensor = functional_call(model, parameters, (r, p))
        return hidden[-1].square().sum()

    found = vmap(grad(loss), in_dims=(None, 0, 0))(named, rows, padding)
    for place, (r, p) in enumerate(users):
        model.zero_grad()
        model(r, p)[-1].square().sum().backward()
        for key, parameter in model.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            same = torch.allclose(found[key][place], expected, rtol=1e-3, atol=1e-4)
            require(same, f"the mapped gradient of {key} is not that of a loop")


def dropout(make: Make) -> None:
    """``dropout_sites`` places take multipliers: ones are no dropout, and every site acts."""
    model, items = make(), sequence(6)
    sites = getattr(model, "dropout_sites", None)
    require(isinstance(sites, int) and not isinstance(sites, bool), "it has no number dropout_sites")
    assert isinstance(sites, int)
    plain = model(items, nothing(6))
    for ones in (torch.ones(sites, 6, DIM), torch.ones(sites, 1, 1)):
        close(model(items, nothing(6), ones), plain, "multipliers of one change the states")
    for site in range(sites):
        keep = torch.ones(sites, 6, DIM)
        keep[site] = 0.0
        changed = not torch.allclose(model(items, nothing(6), keep), plain, atol=1e-3)
        require(changed, f"dropout site {site} of {sites} does nothing")


def stateless(make: Make) -> None:
    """It remembers nothing between calls, and has no buffers: an update could not carry them."""
    model = make()
    first = model(sequence(6), nothing(6))
    model(sequence(9, seed=3), nothing(9))
    require(torch.equal(model(sequence(6), nothing(6)), first), "a call changes what the next one gives")
    require(not dict(model.named_buffers()), "it has buffers")


CHECKS = (
    form,
    causal,
    buckets,
    some_positions,
    padding_is_silent,
    learns,
    short_histories,
    mapped,
    mapped_gradient,
    dropout,
    stateless,
)
