"""One number a device: is it one group of devices or two, and who is in the upper one?"""

from __future__ import annotations

import torch
from torch import Tensor

REFERENCES = 64
"""Uniform samples that the gap statistic compares with; more of them cost nothing here."""

NOTHING = 1e-12
"""Spread within clusters, of values in [0, 1], that counts as none."""


def two_means(values: Tensor) -> tuple[Tensor, Tensor]:
    """The best split of sorted values […, n], n ≥ 2, in two: its place and Σ of squares within -> […].

    In one dimension clusters are neighbours, so the least over the n − 1 cuts is the optimum: no start to
    draw and no iteration. The place is the number of values in the lower cluster.
    """
    n = values.shape[-1]
    total, square = values.cumsum(-1), values.square().cumsum(-1)  # […, n]
    below = torch.arange(1, n, dtype=values.dtype, device=values.device)  # [n − 1]
    low = square[..., :-1] - total[..., :-1].square() / below
    rest, above = total[..., -1:] - total[..., :-1], n - below
    high = square[..., -1:] - square[..., :-1] - rest.square() / above
    within, place = (low + high).clamp_min(0).min(dim=-1)
    return place + 1, within


def upper(values: Tensor) -> Tensor:
    """Who is in the upper of the two clusters -> bool [n]; nobody where n < 2 or all are equal."""
    unit = normalised(values)
    if unit is None or len(values) < 2:
        return torch.zeros_like(values, dtype=torch.bool)
    ordered = unit.sort().values
    place, _ = two_means(ordered)
    return unit >= ordered[place]


def two_groups(values: Tensor, generator: torch.Generator) -> bool:
    """Whether Gap(1) < Gap(2) − s_2 for values [n], n ≥ 4: two clusters rather than one.

    Gap(k) = E*[log W_k] − log W_k, W_k the squares within the best k clusters, E* over uniform samples of
    the same size and range; s_2 the standard error. Tibshirani, Walther and Hastie, JRSS B 2001.
    """
    unit = normalised(values)
    if unit is None or len(values) < 4:
        return False
    drawn = torch.rand(REFERENCES, len(values), generator=generator, dtype=torch.float64).to(unit)
    expected, deviation = _log_within(drawn)
    found, _ = _log_within(unit[None])
    gaps = expected - found
    return bool(gaps[0] < gaps[1] - deviation[1] * (1 + 1 / REFERENCES) ** 0.5)


def normalised(values: Tensor) -> Tensor | None:
    """(x − min)/(max − min) in float64; None where all are equal up to rounding, or there is none."""
    if not len(values):
        return None
    values = values.double()
    low, high = values.min(), values.max()
    if high - low <= 1e-9 * torch.maximum(low.abs(), high.abs()):
        return None
    return (values - low) / (high - low)


def _log_within(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation over samples [B, n] of log W_1 and log W_2 -> [2] each."""
    ordered = samples.sort(dim=-1).values
    one = (ordered - ordered.mean(dim=-1, keepdim=True)).square().sum(dim=-1)
    both = torch.stack([one, two_means(ordered)[1]]).clamp_min(NOTHING).log()  # [2, B]
    return both.mean(dim=1), both.std(dim=1, correction=0)
