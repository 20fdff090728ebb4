"""Rules that settle each coordinate by itself, against their obvious float64 versions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError, RunError
from common.settings import component
from server.aggregators import build_aggregator
from server.aggregators.coordinates import settled
from tests.server.aggregators import oracles_values
from tests.server.aggregators.helpers import apply, attacked, classic, flat, flat_of, from_flat, make
from tests.server.aggregators.oracles_values import COORDINATE, check

SHARED = pytest.mark.parametrize("name", sorted(COORDINATE))


@SHARED
@given(f=st.integers(0, 4), extra=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_the_rule_is_its_oracle(name: str, f: int, extra: int, seed: int) -> None:
    updates = make(2 * f + extra, seed)
    check(flat_of(apply(name, updates, f)), COORDINATE[name](flat(updates).numpy(), f))


@SHARED
@pytest.mark.parametrize("chunk", [1, 20, 1000])
def test_chunks_do_not_show(name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    updates = classic(9, 1)
    whole = apply(name, updates, 2, electorate="touched")
    assert settled.__defaults__ is not None
    monkeypatch.setattr(settled, "__defaults__", (None, chunk))
    assert torch.equal(flat_of(whole), flat_of(apply(name, updates, 2, electorate="touched")))


@given(n=st.integers(4, 30), share=st.sampled_from([0.0, 0.1, 0.2, 0.29, 0.45]), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_trimmed_mean_by_share(n: int, share: float, seed: int) -> None:
    updates = make(n, seed)
    expected = oracles_values.trimmed_mean(flat(updates).numpy(), round(share * 100) * n // 100)
    check(flat_of(apply("trimmed_mean", updates, 3, share=share)), expected)


def test_a_share_does_not_lose_one_to_rounding() -> None:
    values = torch.arange(100.0)[:, None].expand(100, flat(make(1)).shape[1]).clone()
    values[-29:] = 1e6  # 0.29 · 100 = 28.999…
    result = apply("trimmed_mean", from_flat(values, make(100)), share=0.29)
    assert float(flat_of(result).max()) == pytest.approx(49.5)


@pytest.mark.parametrize("name", ["meamed", "phocas"])
def test_ties_share_the_last_places(name: str) -> None:
    values = torch.zeros(5, flat(make(1)).shape[1])
    values[:, 0] = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])
    values[:, 1] = torch.tensor([-2.0, -2.0, 0.0, 0.0, 2.0])  # three at 2, two of them below
    result = apply(name, from_flat(values, make(5)), 1)
    assert float(result.encoder[0]) == 0  # -3 and 3 tie for one place
    check(flat_of(result), COORDINATE[name](values.double().numpy(), 1))


def test_rlr_turns_round_what_too_few_push_for() -> None:
    values = torch.zeros(9, flat(make(1)).shape[1])
    values[:, 0] = 1.0  # all agree
    values[:2, 1] = 5.0  # two push where nobody else cares
    updates = from_flat(values, make(9))
    assert apply("rlr", updates, 2).encoder[:2].tolist() == pytest.approx([1.0, -10 / 9])
    assert apply("rlr", updates, 2, below="drop").encoder[:2].tolist() == [1.0, 0.0]
    assert apply("rlr", updates, 0, threshold=2).encoder[:2].tolist() == pytest.approx([1.0, 10 / 9])
    assert apply("rlr", updates, 0, threshold=2.5).encoder[:2].tolist() == pytest.approx([1.0, -10 / 9])


def test_rlr_counts_votes_on_either_side() -> None:
    values = torch.zeros(5, flat(make(1)).shape[1])
    values[:, 0] = -1.0
    values[:, 1] = torch.tensor([-1.0, -1.0, -1.0, -1.0, 1.0])
    ours = apply("rlr", from_flat(values, make(5)), threshold=4).encoder
    assert ours[:2].tolist() == pytest.approx([-1.0, 0.6])


@pytest.mark.parametrize("below", ["flip", "drop"])
def test_rlr_against_nobody_is_the_mean_even_of_tied_votes(below: str) -> None:
    values = torch.zeros(4, flat(make(1)).shape[1])
    values[:, 0] = torch.tensor([5.0, 5.0, -1.0, -1.0])
    updates = from_flat(values, make(4))
    assert float(apply("rlr", updates, 0, below=below).encoder[0]) == 2.0
    turned = -2.0 if below == "flip" else 0.0
    assert float(apply("rlr", updates, 0, below=below, threshold=1).encoder[0]) == turned
    assert float(apply("rlr", updates, 1, below=below).encoder[0]) == turned


@pytest.mark.parametrize("distance", [20.0, 1e4, 1e12])
@pytest.mark.parametrize(
    ("name", "malicious"),
    [("trimmed_mean", 5), ("meamed", 5), ("phocas", 5), ("bulyan", 3), ("trimmed_mean", 1), ("bulyan", 1)],
)
def test_far_attackers_below_the_bound(name: str, malicious: int, distance: float) -> None:
    updates = attacked(12, malicious, distance)
    honest = flat(updates)[:12]
    centre = honest.mean(dim=0)
    moved = float((flat_of(apply(name, updates, malicious)) - centre).norm())
    assert moved <= float((honest - centre).norm(dim=1).max())


@pytest.mark.parametrize(("name", "f"), [("trimmed_mean", 7), ("meamed", 7), ("phocas", 7), ("bulyan", 6)])
def test_a_majority_takes_over(name: str, f: int) -> None:
    updates = attacked(12, 16, 1e4)
    assert float(flat_of(apply(name, updates, f)).norm()) > 1e3


@pytest.mark.parametrize(
    ("name", "f", "least"), [("trimmed_mean", 3, 7), ("meamed", 3, 7), ("phocas", 3, 7), ("bulyan", 3, 15)]
)
def test_the_bound_is_named_when_the_round_is_too_small(name: str, f: int, least: int) -> None:
    assert flat_of(apply(name, make(least), f)).isfinite().all()
    with pytest.raises(RunError, match=rf"{name} against 3 .* at least {least} .* has {least - 1}"):
        apply(name, make(least - 1), f)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("trimmed_mean", {"share": 0.5}),
        ("trimmed_mean", {"share": -0.1}),
        ("trimmed_mean", {"share": float("nan")}),
        ("rlr", {"threshold": 0.0}),
        ("rlr", {"threshold": float("inf")}),
        ("rlr", {"below": "stay"}),
        *[(name, {"electorate": "some"}) for name in (*COORDINATE, "bulyan")],
    ],
)
def test_invalid_values_are_settings_errors(name: str, params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=name):
        build_aggregator(component(name, **params))
