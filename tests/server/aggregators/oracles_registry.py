"""The float64 oracle of every rule in the registry, on a whole round: dense, or with a mask of held rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from common.updates import DeviceUpdates
from server.aggregators import Aggregate
from tests.server.aggregators import oracles, oracles_gram, oracles_served, oracles_values
from tests.server.aggregators import test_hics as hics
from tests.server.aggregators import test_lasa as lasa
from tests.server.aggregators import test_mixed_rfa as mixed_rfa
from tests.server.aggregators import test_sieve as sieve
from tests.server.aggregators.helpers import flat, served
from tests.server.aggregators.oracles import Values

Whole = Callable[[DeviceUpdates, int, Aggregate], Values]
"""(updates, f, what the rule returned) -> aggregate [p]. The third is read where the rule's own clustering
decides who takes part; the arithmetic on those is the oracle's."""


def plain(rule: Callable[[Values, int], Values]) -> Whole:
    return lambda updates, f, result: rule(flat(updates).numpy(), f)


def kept_mean(updates: DeviceUpdates, f: int, result: Aggregate) -> Values:
    assert result.weights is not None
    return oracles.mean(flat(updates).numpy()[result.weights.numpy() > 0])


def kept_and_clipped(updates: DeviceUpdates, f: int, result: Aggregate) -> Values:
    assert result.weights is not None
    u = flat(updates).numpy()
    size = np.linalg.norm(u, axis=1)
    clipped = u * np.minimum(1, np.median(size) / size)[:, None]
    return oracles.mean(clipped[result.weights.numpy() > 0])


def foolsgold(u: Values, f: int) -> Values:
    alpha = oracles_gram.foolsgold(u)
    return alpha @ u / alpha.sum()


def fltrust(updates: DeviceUpdates, f: int, result: Aggregate) -> Values:
    root = served(updates).root
    assert root is not None
    return oracles_served.fltrust(flat(updates).numpy(), flat(root).numpy()[0])


def sieved(updates: DeviceUpdates, f: int, result: Aggregate) -> Values:
    rows, lengths, shares = sieve.oracle(updates)
    encoder = updates.encoder.double().numpy()
    ratio = np.linalg.norm(encoder, axis=1) / lengths
    scale = np.array(shares) * np.minimum(1, 2 * np.median(ratio) / ratio)
    return np.concatenate([scale @ encoder, rows.numpy().ravel()])


def banked(updates: DeviceUpdates, f: int, result: Aggregate) -> Values:
    limit = result.figures["hics.limit"]
    rows = hics.oracle(updates, {}, 0.1, limit, False)
    return np.concatenate([updates.encoder.double().numpy().mean(axis=0), rows.ravel()])


def layered(updates: DeviceUpdates, f: int, result: Aggregate) -> Values:
    return lasa.oracle(flat(updates).numpy(), 0.3, 2.0, 1.0, updates.encoder.shape[1])


ORACLES: dict[str, Whole] = {
    "mean": plain(lambda u, f: oracles.mean(u)),
    "norm_clip": plain(lambda u, f: oracles.norm_clip(u)),
    "krum": plain(lambda u, f: oracles.krum(u, len(u) - f - 2)),
    "multi_krum": plain(lambda u, f: oracles.krum(u, len(u) - f - 2, len(u) - f)),
    "mda": plain(lambda u, f: oracles.mean(u[list(oracles_gram.least_diameter(u, len(u) - f)[1][0])])),
    "geometric_median": plain(lambda u, f: oracles.geometric_median(u)),
    "centred_clipping": plain(lambda u, f: oracles_gram.centred_clipping(u, np.zeros(u.shape[1]))),
    "foolsgold": plain(foolsgold),
    "fltrust": fltrust,
    "fldetector": kept_mean,
    "flame": plain(lambda u, f: oracles_gram.flame(u)),
    "dnc": plain(lambda u, f: oracles.mean(u[oracles_gram.dnc_kept(u, f)])),
    "caf": plain(oracles_gram.caf),
    "bulyan": plain(oracles_values.bulyan),
    "signguard": kept_and_clipped,
    "lasa": layered,
    "hics": banked,
    "union": kept_mean,
    "mixed_rfa": plain(lambda u, f: mixed_rfa.oracle(u, np.ones(len(u)), 0.3, 4)),
    "sieve": sieved,
    **{name: plain(oracle) for name, oracle in oracles_values.COORDINATE.items()},
}

HELD = (*oracles_values.COORDINATE, "bulyan")
"""Rules that take an electorate."""


def held(name: str, updates: DeviceUpdates, f: int) -> Values:
    """The rule with ``electorate: touched``, row by row: its holders vote, and a row of nobody stays."""
    assert updates.touched is not None
    encoder, rows = updates.encoder.double().numpy(), updates.rows.double().numpy()
    voters, stage = updates.touched.numpy(), oracles_values.bulyan_stage
    if name == "bulyan":
        chosen = oracles_values.picked(flat(updates).numpy(), f)
        encoder, rows, voters = encoder[chosen], rows[chosen], voters[chosen]
    else:
        stage = oracles_values.COORDINATE[name]
    settled = [
        stage(rows[voters[:, k], k], f) if voters[:, k].any() else np.zeros(rows.shape[2])
        for k in range(rows.shape[1])
    ]
    return np.concatenate([stage(encoder, f), *settled])


PARAMETERS: dict[str, dict[str, object]] = {
    "foolsgold": {"width": 1 << 20},  # so wide that the sketch is exact
    "geometric_median": {"max_iterations": 1000, "tolerance": 1e-9},
}


def difference(
    name: str, updates: DeviceUpdates, f: int, result: Aggregate, electorate: str = "all"
) -> float:
    """The largest difference to the oracle, over its largest value."""
    ours = np.concatenate([result.encoder.double().numpy(), result.rows.double().numpy().ravel()])
    touched = electorate == "touched"
    expected = held(name, updates, f) if touched else ORACLES[name](updates, f, result)
    return float(np.abs(ours - expected).max() / max(float(np.abs(expected).max()), 1e-300))
