"""What every aggregation rule promises, and the rounds that show it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from common.tasks import GlobalModel
from common.updates import DeviceUpdates
from experiments.contracts import require
from server.aggregators import Aggregate, Aggregator, Round

P, K, D = 7, 5, 3
N, F = 11, 2
"""Devices of a round against so many malicious ones: what the most demanding rule needs."""
TENSORS = ("encoder", "rows", "items", "history", "device")
Make = Callable[[], Aggregator]


def make_updates(
    n: int, seed: int = 0, scale: float = 1.0, offset: float = 0.0, width: int = P
) -> DeviceUpdates:
    """n Gaussian updates, each with its own size, around a common offset."""
    g = torch.Generator().manual_seed(seed)
    size = scale * (0.5 + torch.rand(n, 1, generator=g))
    return DeviceUpdates(
        encoder=size * torch.randn(n, width, generator=g) + offset,
        rows=size[:, :, None] * torch.randn(n, K, D, generator=g) + offset,
        items=torch.arange(1, K + 1, dtype=torch.int32),
        history=torch.randint(1, 50, (n,), generator=g, dtype=torch.int32),
        device=torch.arange(n),
    )


def classic(n: int, seed: int, share: float = 0.4) -> DeviceUpdates:
    """A round of ``negatives: device``: each device holds some rows, the others are 0."""
    updates = make_updates(n, seed)
    g = torch.Generator().manual_seed(seed)
    touched = torch.rand(n, updates.rows.shape[1], generator=g) < share
    return replace(updates, rows=updates.rows * touched[:, :, None], touched=touched)


def a_round(n: int, byzantine: int = 0, seed: int = 5) -> Round:
    """A round without a server around it."""
    return Round(byzantine, tuple((i, i) for i in range(n)), torch.Generator().manual_seed(seed))


def served(updates: DeviceUpdates, byzantine: int = 0, seed: int = 5) -> Round:
    """The round as the pipeline makes it: with a model, and the mean update as that of a trusted device."""
    g = torch.Generator().manual_seed(seed)
    table = torch.randn(int(updates.items.max()) + 1, updates.rows.shape[2], generator=g)
    model = GlobalModel(torch.randn(updates.encoder.shape[1], generator=g), table)
    root = replace(
        updates.take(torch.tensor([0])),
        encoder=updates.encoder.mean(dim=0, keepdim=True),
        rows=updates.rows.mean(dim=0, keepdim=True),
    )
    return replace(a_round(len(updates), byzantine, seed), model=model, root=root)


def flat_of(result: Aggregate) -> Tensor:
    """The aggregate as float64 [P + K·D]."""
    return torch.cat([result.encoder, result.rows.flatten()]).double()


def once(make: Make, updates: DeviceUpdates, byzantine: int = 0) -> Aggregate:
    """One round of a rule from its first state."""
    rule = make()
    return rule(updates, rule.init(), served(updates, byzantine))[0]


def close(a: Tensor, b: Tensor, sentence: str) -> None:
    """Raise AssertionError unless the two are equal but for rounding."""
    require(a.shape == b.shape and torch.allclose(a, b, rtol=1e-5, atol=1e-5), sentence)


def form(make: Make) -> None:
    """One finite float32 update of the right shape comes out, also of small rounds."""
    for n in (1, 2, 3, 8, 9):
        if n < make().least(0):
            continue
        updates = make_updates(n)
        result = once(make, updates)
        require(result.encoder.shape == (P,), f"of {n} updates the encoder has shape {result.encoder.shape}")
        require(result.rows.shape == (K, D), f"of {n} updates the rows have shape {result.rows.shape}")
        require(result.encoder.dtype == result.rows.dtype == torch.float32, "the aggregate is not float32")
        require(flat_of(result).isfinite().all(), f"of {n} finite updates the aggregate is not finite")


def input_kept(make: Make) -> None:
    """The updates it is given are neither changed nor handed back."""
    for n in (make().least(0), N):
        updates = make_updates(n)
        before = {key: getattr(updates, key).clone() for key in TENSORS}
        result = once(make, updates)
        for key in TENSORS:
            require(torch.equal(getattr(updates, key), before[key]), f"it changes updates.{key}")
        result.encoder.fill_(99.0)
        result.rows.fill_(99.0)
        if result.weights is not None:
            result.weights.fill_(99.0)
        for key in TENSORS:
            require(torch.equal(getattr(updates, key), before[key]), f"its result is a view of updates.{key}")


def repeatable(make: Make) -> None:
    """The same round gives the same bits: round_.generator is the only chance."""
    first, second = once(make, make_updates(N), F), once(make, make_updates(N), F)
    require(torch.equal(flat_of(first), flat_of(second)), "two calls with the same round differ")
    require(first.figures == second.figures, "two calls with the same round tell different figures")


def large_node_numbers(make: Make) -> None:
    """Nodes have numbers of 64 bits, and are found again by them."""
    rule, updates = make(), make_updates(N)
    state, other = rule.init(), rule.init()
    for number in range(1, 5):
        small = replace(served(updates, F), number=number)
        high = tuple((2**64 - 1 - node, device) for node, device in small.identity)
        large = replace(served(updates, F), number=number, identity=high)
        one, state = rule(updates, state, small)
        same, other = rule(updates, other, large)
        require(torch.equal(flat_of(one), flat_of(same)), f"round {number} depends on how nodes are numbered")


def order(make: Make) -> None:
    """The order of the devices does not matter."""
    for seed in range(3):
        updates = make_updates(N, seed)
        permuted = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
        one, other = once(make, updates, F), once(make, updates.take(permuted), F)
        close(flat_of(one), flat_of(other), "the aggregate depends on the order of the devices")
        if one.weights is not None and other.weights is not None:
            close(one.weights[permuted], other.weights, "weights do not move with their devices")


def agreement(make: Make) -> None:
    """Where all devices send the same encoder update, that is the aggregate."""
    updates = make_updates(N).take(torch.zeros(N, dtype=torch.int64))
    close(once(make, updates, F).encoder, updates.encoder[0], "equal encoder updates become another one")


def silence(make: Make) -> None:
    """Updates of zeros give zero."""
    updates = make_updates(N)
    updates = replace(updates, encoder=0 * updates.encoder, rows=0 * updates.rows)
    require(flat_of(once(make, updates, F)).abs().max() == 0, "out of nothing comes something")


def extremes(make: Make) -> None:
    """What admission lets through, however large or small, never becomes NaN or infinite."""
    for protocol in (make_updates(N), classic(N, 3)):
        for devices in ([4], [4, 5], list(range(N))):
            for size in (1e-40, 1e-30, 2e18):
                scale = torch.ones(N).index_fill_(0, torch.tensor(devices), size)
                rows = protocol.rows * scale[:, None, None]
                updates = replace(protocol, encoder=protocol.encoder * scale[:, None], rows=rows)
                _stays_finite(make, updates, f"{len(devices)} updates are {size:g} times as large")


def _stays_finite(make: Make, updates: DeviceUpdates, where: str) -> None:
    rule = make()
    state = rule.init()
    for number in range(1, 4):  # some rules remember
        result, state = rule(updates, state, replace(served(updates, F), number=number))
        require(flat_of(result).isfinite().all(), f"where {where} the aggregate is not finite")
        require(
            result.weights is None or result.weights.isfinite().all(), f"where {where} weights are not finite"
        )
        require(all(map(math.isfinite, result.figures.values())), f"where {where} figures are not finite")
        floats = [value for value in state.values() if value.is_floating_point()]
        require(all(value.isfinite().all() for value in floats), f"where {where} the state is not finite")


def shares(make: Make) -> None:
    """Weights, if it tells any, are float32 in [0, 1], one a device, and at most 1 in all."""
    weights = once(make, make_updates(N), F).weights
    if weights is None:
        return
    require(weights.shape == (N,), f"weights have shape {tuple(weights.shape)} for {N} devices")
    require(weights.dtype == torch.float32, f"weights are {weights.dtype}")
    require(0 <= weights.min() <= weights.max() <= 1, "a weight is outside [0, 1]")
    require(float(weights.sum()) <= 1 + 1e-6, f"weights are {float(weights.sum()):g} in all")


def claims(make: Make) -> None:
    """A claimed history, which nobody can verify, buys no weight as by default."""
    updates = make_updates(N)
    claim = updates.history.clone().index_fill_(0, torch.tensor([3]), 1_000_000_000)
    greedy = once(make, replace(updates, history=claim), F)
    same = torch.equal(flat_of(greedy), flat_of(once(make, updates, F)))
    require(same, "a device that claims a longer history moves the aggregate")


def apart(make: Make) -> None:
    """Where it takes several slices, it takes encoders beside a row of zeros."""
    if not make().sliced:
        return
    updates = make_updates(N)
    bare = replace(updates, rows=updates.rows.new_zeros(N, 1, D), items=updates.items[:1])
    result = once(make, bare, F)
    require(flat_of(result).isfinite().all(), "beside a row of zeros the aggregate is not finite")
    require(not result.rows.any(), "a row that nobody moved moves")


def strides(make: Make) -> None:
    """Rows that are not contiguous in memory are read right."""
    updates = make_updates(N)
    strided = replace(updates, rows=updates.rows.transpose(1, 2).contiguous().transpose(1, 2))
    close(
        flat_of(once(make, strided, F)), flat_of(once(make, updates, F)), "strided rows give another result"
    )


def state_returned(make: Make) -> None:
    """Its state is named tensors, returned and never changed."""
    rule = make()
    state = rule.init()
    for number in (1, 2):
        before = {key: value.clone() for key, value in state.items()}
        updates = make_updates(N, number)
        _, after = rule(updates, state, replace(served(updates, F), number=number))
        require(set(state) == set(before), "it adds to the state that it was given")
        kept = all(torch.equal(state[key], before[key]) for key in before)
        require(kept, "it changes the state that it was given")
        require(
            all(isinstance(value, Tensor) for value in after.values()), "its state is not made of tensors"
        )
        state = after


CHECKS = (
    form,
    input_kept,
    repeatable,
    large_node_numbers,
    order,
    agreement,
    silence,
    extremes,
    shares,
    claims,
    apart,
    strides,
    state_returned,
)
