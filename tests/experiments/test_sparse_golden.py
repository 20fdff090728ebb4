"""The sieve on a sparse log: histories of six, most items held by few, two in a hundred devices malicious.

Without an attack it costs nothing; an attack that takes the mean over reaches nobody.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from common.data import load as load_log
from common.settings import load
from emulation.federation import federate

pytestmark = pytest.mark.no_cover  # training under the tracer takes half as long again

LOG = "devices=1200,items=600,length=6"
SPARSE = (
    "data.name=synthetic",
    f"data.path='{LOG}'",
    "model={dim: 16, max_len: 8, blocks: 1, dropout: 0.1}",
    "train={rounds: 80, devices_per_round: 96, slice_size: 200, slice_power: 1.0, slice_correction: false}",
    "strategy.lr=2e-2",
    "eval.every=0",
    "attack.share=0.02",
)
LIMIT = 0.02
"""Of the honest users may get the target."""


@cache
def outcome(rule: str, attack: str, seed: int) -> tuple[float, float]:
    """NDCG@10 on test and ER@10 of one run."""
    named = [f"strategy.aggregator={rule}", f"attack.name={attack}", f"seed={seed}"]
    with TemporaryDirectory() as folder:
        summary = federate(load(overrides=[*SPARSE, *named]), Path(folder) / "run")
    return summary["test"]["ndcg@10"], summary["er@10"]


def test_the_log_is_sparse() -> None:
    log = load_log("synthetic", LOG)
    holders = np.bincount(np.concatenate([np.unique(history) for history in log.sequences]))
    assert np.median([len(history) for history in log.sequences]) <= 6
    assert np.median(holders[1:]) < 0.02 * len(log)


def test_without_an_attack_the_sieve_keeps_what_the_mean_learns() -> None:
    kept, clean = (mean(outcome(rule, "control", seed)[0] for seed in (0, 1)) for rule in ("sieve", "mean"))
    assert clean > 0.15
    assert kept >= 0.98 * clean


def test_label_poison_takes_the_mean_over_and_reaches_nobody_under_the_sieve() -> None:
    assert outcome("mean", "label_to_target", 0)[1] > 0.3
    ndcg, exposure = outcome("sieve", "label_to_target", 0)
    assert exposure <= LIMIT
    assert ndcg >= 0.95 * outcome("mean", "control", 0)[0]
