"""The rules beside the same rules as others ship them, on the same updates.

Flower's are always there; byzfl's where it can be imported (``pip install --no-deps byzfl``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from benchmarks.peers import byzfl_rules, flower_rules
from common.settings import component
from server.aggregators import build_aggregator
from server.aggregators.gram import middle, squared_distances
from server.aggregators.pre import with_pre
from server.round.faults import faults
from tests.server.aggregators.helpers import a_round, apply, flat, flat_of, from_flat, make

FLOWER = ("krum", "median", "multi_krum", "trimmed_mean")
BYZFL: dict[str, dict[str, object]] = {
    "krum": {"neighbours": "byzfl"},
    "multi_krum": {"neighbours": "byzfl"},
    "geometric_median": {"max_iterations": 1000, "tolerance": 1e-9},
    "centred_clipping": {},  # and τ, which is the round's
    "mda": {},
    "meamed": {},
    "median": {},
    "trimmed_mean": {},
}
MIXERS = ("arc", "nnm")
THERE = bool(byzfl_rules(torch.ones(1, 1), 0, 1.0))
byzfl = pytest.mark.skipif(not THERE, reason="byzfl is not installed: pip install --no-deps byzfl")
rounds = pytest.mark.parametrize(("n", "f", "seed"), [(9, 0, 0), (11, 2, 1), (16, 3, 2), (17, 4, 3)])


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Flower logs every aggregation."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs.double(), rtol=1e-5, atol=1e-6)


@rounds
@pytest.mark.parametrize("name", FLOWER)
def test_it_agrees_with_flower(name: str, n: int, f: int, seed: int) -> None:
    updates = make(n, seed)
    close(flat_of(apply(name, updates, f)), flower_rules(flat(updates).float(), f)[name]()())


@byzfl
@rounds
@pytest.mark.parametrize("name", sorted(BYZFL))
def test_it_agrees_with_byzfl(name: str, n: int, f: int, seed: int) -> None:
    updates = make(n, seed)
    tau = float(middle(squared_distances(flat(updates) @ flat(updates).T)[0]).sqrt()) / 2  # clips some
    params = {"tau": tau} if name == "centred_clipping" else BYZFL[name]
    close(flat_of(apply(name, updates, f, **params)), byzfl_rules(flat(updates).float(), f, tau)[name]()())


@byzfl
@rounds
@pytest.mark.parametrize("name", MIXERS)
def test_a_mixer_agrees_with_byzfl(name: str, n: int, f: int, seed: int) -> None:
    updates = make(n, seed)
    built = with_pre(build_aggregator(component("mean")), [component(name)])
    ours, _ = built(updates, built.init(), a_round(n, f))
    close(flat_of(ours), byzfl_rules(flat(updates).float(), f, 1.0)[f"{name} + mean"]()())


def test_every_peer_is_compared() -> None:
    values = torch.ones(9, 4)
    assert set(flower_rules(values, 1)) == set(FLOWER)
    if THERE:
        assert set(byzfl_rules(values, 1, 1.0)) == {*BYZFL, *(f"{name} + mean" for name in MIXERS)}


def test_flowers_multi_krum_takes_attackers_of_large_weights_and_ours_does_not_see_the_weights() -> None:
    """Squared distances as ‖a‖² + ‖b‖² − 2ab in float32, on whole weights: what rounding leaves is noise."""
    updates, start = make(9, scale=1e-2, width=2000), 3000.0
    values = flat(updates).float()
    values[7:] += 0.5
    fooled = flower_rules(start + values, 2)["multi_krum"]()() - start
    assert float(fooled.mean()) > 0.05, "the fault must show, or this test shows nothing"
    ours = flat_of(apply("multi_krum", from_flat(values, updates), 2))
    assert abs(float(ours.mean())) < 1e-3


@byzfl
def test_byzfls_geometric_median_passes_a_nan_on_and_admission_keeps_it_from_ours() -> None:
    values = flat(make(9)).float()
    values[4, 2] = torch.nan
    assert bool(byzfl_rules(values, 2, 1.0)["geometric_median"]()().isnan().any())
    updates = from_flat(values, make(9))
    refused = faults(updates)
    assert set(refused) == {4}
    rest = updates.take(torch.tensor([i for i in range(9) if i not in refused]))
    assert flat_of(apply("geometric_median", rest, 2)).isfinite().all()
