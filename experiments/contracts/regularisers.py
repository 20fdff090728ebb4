"""What training relies on, of every term that a device adds to its loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from client.cohort import Cohort
from client.losses import corrected, softmax
from client.regularisers import CHANNELS, Own, Regulariser
from common.config import ClientConfig, Component
from common.models import build_model
from common.registry import as_component
from experiments.contracts import require
from experiments.contracts.samples import cohort, model_config, task

LENGTH, DIM, K = 8, 8, 6
TENSORS = [f.name for f in fields(Own) if f.name not in ("encode", "loss")]
Make = Callable[[], Regulariser]


def encoder(name: str = "sasrec", seed: int = 0) -> nn.Module:
    """A model with nothing at zero or one, and without gradients until they are asked for."""
    model = build_model(model_config(name=name, blocks=1, max_len=LENGTH)).double()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=g, dtype=torch.float64))
    return model.requires_grad_(False)


def own(items: int = 6, seed: int = 1, model: nn.Module | None = None, **changes: Any) -> Own:
    """``items`` of LENGTH positions are real; two of three next items are in the slice of K rows."""
    g = torch.Generator().manual_seed(seed)
    module = model or encoder()

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    def encode(inputs: Tensor, padding: Tensor) -> Tensor:
        named: dict[str, Tensor] = dict(module.named_parameters())
        out: Tensor = functional_call(module, named, (inputs, padding))
        return out

    padding = torch.arange(LENGTH) < LENGTH - items
    inputs = normal(LENGTH, DIM) * (~padding)[:, None]
    candidates = torch.tensor([True] * (K - 1) + [False])
    found = Own(
        hidden=encode(inputs, padding).detach(),
        anchor=normal(LENGTH, DIM),
        padding=padding,
        inputs=inputs,
        rows=normal(K, DIM),
        target=torch.randint(K - 1, (LENGTH,), generator=g),
        counted=(torch.rand(LENGTH, generator=g) < 2 / 3) & ~padding,
        candidates=candidates,
        noise=torch.rand(CHANNELS, LENGTH, generator=g, dtype=torch.float64),
        encode=encode,
        loss=lambda answers: answers.double(),
        held=torch.rand(K, generator=g) < 1 / 3,
    )
    return changed(found, **changes)


def changed(mine: Own, **values: Any) -> Own:
    """``mine`` with other values, and the loss that its states have then."""
    found = replace(mine, **values)

    def loss(answers: Tensor) -> Tensor:
        scores = corrected("softmax", found.hidden @ found.rows.T, answers, None)  # [ℓ, K]
        return softmax(scores, answers, found.candidates, K)  # [ℓ]

    return replace(found, loss=loss)


def form(make: Make) -> None:
    """One finite penalty a position, and not all of them zero."""
    found = make()(own())
    require(found.shape == (LENGTH,), f"penalties have shape {tuple(found.shape)} for {LENGTH} positions")
    require(bool(found.isfinite().all()), "a penalty is not finite")
    require(bool(found.any()), "all penalties are zero")


def input_kept(make: Make) -> None:
    """What it reads is left as it was."""
    mine = own()
    before = {field: getattr(mine, field).clone() for field in TENSORS}
    make()(mine)
    for field in TENSORS:
        require(torch.equal(getattr(mine, field), before[field]), f"it changes own.{field}")


def mapped(make: Make) -> None:
    """A map over devices (vmap) equals a loop: no control flow looks at values."""
    term = make()
    devices = [own(items, seed=items) for items in (1, 3, 6, 8)]
    stacked = [torch.stack([getattr(one, field) for one in devices]) for field in TENSORS]

    def one(*tensors: Tensor) -> Tensor:
        fresh: dict[str, Any] = dict(zip(TENSORS, tensors, strict=True))
        return term(changed(devices[0], **fresh))

    loop = torch.stack([term(device) for device in devices])
    require(torch.allclose(vmap(one)(*stacked), loop), "mapped over devices it gives other penalties")


def gradient(make: Make) -> None:
    """The gradient is that of finite differences, and reaches the device's parameters."""
    term, mine = make(), own()

    def penalty(inputs: Tensor, rows: Tensor) -> Tensor:
        hidden = mine.encode(inputs, mine.padding)
        other = changed(mine, inputs=inputs, rows=rows, hidden=hidden)
        return torch.where(mine.padding, 0.0, term(other)).sum()

    leaves = (mine.inputs.clone().requires_grad_(), mine.rows.clone().requires_grad_())
    right = torch.autograd.gradcheck(penalty, leaves, raise_exception=False)
    require(right, "its gradient is not that of finite differences")
    torch.autograd.backward(penalty(*leaves))
    reached = any(leaf.grad is not None and bool(leaf.grad.any()) for leaf in leaves)
    require(reached, "no gradient reaches the device's rows")


def short_histories(make: Make) -> None:
    """Devices of no item and of one item have finite gradients, and no item costs nothing."""
    for name in ("sasrec", "gru4rec"):
        for items in (0, 1):
            module = encoder(name).requires_grad_()
            mine = own(items, model=module)
            hidden = mine.encode(mine.inputs, mine.padding)
            total = torch.where(mine.padding, 0.0, make()(changed(mine, hidden=hidden))).sum()
            require(bool(torch.isfinite(total)), f"of {items} items the penalty is not finite")
            torch.autograd.backward(total + 0.0 * hidden.sum())
            finite = all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)
            require(finite, f"of {items} items a gradient is not finite")


def chance(make: Make) -> None:
    """It uses ``own.noise`` if ``passes`` says so, and no other chance."""
    term, mine = make(), own(8)
    require(torch.equal(term(mine), term(mine)), "two calls on the same device differ")
    found = [term(replace(mine, noise=torch.rand_like(mine.noise))) for _ in range(6)]
    varied = any(not torch.equal(found[0], one) for one in found[1:])
    require(not varied or term.passes > 0, "it reads own.noise, and passes is 0: then there is none")


def alone(make: Make) -> None:
    """A device trains alone as it does among others."""
    terms = ClientConfig(regularisers=(Component.model_validate(as_component(make())),))
    what = replace(task(local_steps=2, window="random"), client_config=terms)
    together = cohort(what)
    updates = together.train()
    for i in (1, 3, 8):
        single = Cohort(what, [i], [together.sequences[i]], key=5).train()
        pairs = ((single.encoder[0], updates.encoder[i]), (single.rows[0], updates.rows[i]))
        same = all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in pairs)
        require(same, "a device's update depends on who trains beside it")


CHECKS = (form, input_kept, mapped, gradient, short_histories, chance, alone)
