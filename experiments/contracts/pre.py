"""What every pre-aggregator promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from experiments.contracts import require
from experiments.contracts.aggregators import F, N, flat_of, make_updates, once, served
from server.aggregators.gram import gram
from server.aggregators.mean import Mean
from server.aggregators.pre import Composed, Heat, Heated, Mixer

Make = Callable[[], Mixer | Heat]


def matrix(make: Make) -> None:
    """M is a finite float64 matrix with a row for each update that is left."""
    mixer, updates = make(), make_updates(N)
    if isinstance(mixer, Heat):  # it corrects an aggregate, by no matrix
        return
    products = gram(updates)
    before = products.clone()
    found = mixer.matrix(products, served(updates, F))
    require(found.shape == (mixer.left(N, F), N), f"M has shape {tuple(found.shape)}")
    require(found.dtype == torch.float64, f"M is {found.dtype}")
    require(bool(found.isfinite().all()), "M is not finite")
    require(torch.equal(products, before), "it changes the inner products that it was given")


def before_the_mean(make: Make) -> None:
    """With the mean behind it, rounds stay finite, repeatable and as they were."""
    part = make()
    rule = Heated(part, Mean()) if isinstance(part, Heat) else Composed((part,), Mean())
    for size in (1e-30, 1.0, 2e18):
        updates = make_updates(N, scale=size)
        kept = replace(updates, encoder=updates.encoder.clone(), rows=updates.rows.clone())
        first, second = once(lambda: rule, updates, F), once(lambda: rule, updates, F)
        require(flat_of(first).isfinite().all(), f"updates of size {size:g} give no finite aggregate")
        require(torch.equal(flat_of(first), flat_of(second)), "two calls with the same round differ")
        same = torch.equal(updates.encoder, kept.encoder) and torch.equal(updates.rows, kept.rows)
        require(same, "it changes the updates")


CHECKS = (matrix, before_the_mean)
