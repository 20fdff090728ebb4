"""Popularity read off the updates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from common.data import load, split
from common.updates import DeviceUpdates
from server.constraints.panel import PULLED, PUSHED, TRAINED
from server.round.popularity import PRIOR, estimate, marks, observe
from server.round.state import no_counts
from tests.server.federation import LOG, Watch, config, run


def updates(rows: torch.Tensor, items: list[int], touched: torch.Tensor | None = None) -> DeviceUpdates:
    n = len(rows)
    return DeviceUpdates(
        encoder=torch.zeros(n, 3),
        rows=rows,
        items=torch.tensor(items, dtype=torch.int32),
        history=torch.ones(n, dtype=torch.int32),
        device=torch.arange(n),
        touched=touched,
    )


def counted(size: int, found: DeviceUpdates) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts over ``size`` items after one round."""
    return observe(no_counts(size), no_counts(size), found.items, marks(found))


def cohort(scale: float = 1.0) -> torch.Tensor:
    """Ten devices, 20 rows: rows 0 to 15 of every device have norm 1, the others a hundredth."""
    rows = torch.zeros(10, 20, 2)
    rows[:, :16, 0] = 1.0
    rows[:, 16:, 0] = 0.01
    return scale * rows


def test_strong_rows_count_as_pulls() -> None:
    pulls, seen = counted(30, updates(cohort(), list(range(5, 25))))
    assert pulls.tolist() == [0.0] * 4 + [10.0] * 16 + [0.0] * 10
    assert seen.tolist() == [0.0] * 4 + [10.0] * 20 + [0.0] * 6


def test_the_size_of_updates_does_not_matter() -> None:
    counts = [counted(30, updates(cohort(s), list(range(5, 25)))) for s in (1.0, 1e-6)]
    assert torch.equal(counts[0][0], counts[1][0])


def test_one_device_counts_once_however_large() -> None:
    rows = cohort()
    honest, _ = counted(20, updates(rows, list(range(1, 21))))
    rows[0, 18] = 1e6
    attacked, seen = counted(20, updates(rows, list(range(1, 21))))
    gained = attacked - honest
    assert gained[18] == 1
    assert gained.abs().sum() == 1
    assert bool((attacked <= seen).all())


def test_a_minority_cannot_silence_the_others() -> None:
    rows = cohort()
    rows[:4] = 1e6  # four of ten raise the bar
    attacked, _ = counted(20, updates(rows, list(range(1, 21))))
    assert bool((attacked[:16] == 10).all())


def test_untouched_rows_are_not_seen() -> None:
    touched = torch.ones(10, 20, dtype=torch.bool)
    touched[:5, 3] = False
    _, seen = counted(20, updates(cohort(), list(range(1, 21)), touched))
    assert seen[3] == 5
    assert seen[4] == 10


def test_marks_tell_pulled_trained_and_absent() -> None:
    touched = torch.ones(10, 20, dtype=torch.bool)
    touched[2, [3, 17]] = False
    rows = cohort()
    rows[:, 16:] *= -1  # negatives are pushed away
    found = marks(updates(rows, list(range(1, 21)), touched))
    assert found.dtype == torch.int8
    assert found[0].tolist() == [PULLED] * 16 + [TRAINED] * 4
    assert found[2, [2, 3, 16, 17]].tolist() == [PULLED, 0, TRAINED, 0]


def test_a_strong_push_away_is_no_pull() -> None:
    rows = cohort()
    rows[:, 16:] *= -1
    rows[:, 5] *= -1  # recommended to everybody: those who do not hold it push it away
    found = marks(updates(rows, list(range(1, 21))))
    assert bool((found[:, 5] == PUSHED).all())
    assert bool((found[:, 6] == PULLED).all())
    assert torch.equal(*(marks(updates(scale * rows, list(range(1, 21)))) for scale in (1.0, 1e-6)))
    counts = [counted(20, updates(r, list(range(1, 21))))[0] for r in (rows, rows.abs())]
    assert torch.equal(*counts)  # the estimate of popularity counts both ways


def test_a_minority_cannot_turn_what_is_away() -> None:
    rows = cohort()
    rows[:, 16:] *= -1
    honest = marks(updates(rows, list(range(1, 21))))
    rows[:4, 16:] *= -40  # below half an interaction, but forty times what the others push
    attacked = marks(updates(rows, list(range(1, 21))))
    assert bool((attacked[:, :16] == PULLED).all())
    assert torch.equal(attacked[4:], honest[4:])


def test_without_a_weak_row_every_strong_one_is_a_pull() -> None:
    found = marks(updates(cohort()[:, :16], list(range(1, 17))))
    assert bool((found == PULLED).all())


def test_counts_are_new_tensors() -> None:
    pulls, seen = no_counts(20), no_counts(20)
    found = updates(cohort(), list(range(1, 21)))
    observe(pulls, seen, found.items, marks(found))
    assert float(pulls.sum() + seen.sum()) == 0


def test_the_estimate_starts_flat_and_is_bounded_by_the_devices() -> None:
    assert estimate(no_counts(4), no_counts(4), 100).tolist() == [0.0] * 4
    found = estimate(torch.tensor([0.0, 30.0, 1e6]), torch.tensor([30.0, 30.0, 1e6]), 100)
    assert found[0] == 0
    assert float(found[1]) == pytest.approx(100 * 30 / (30 + PRIOR))
    assert float(found[2]) <= 100


def test_a_run_recovers_the_planted_popularity(tmp_path: Path) -> None:
    watch = Watch()
    settings = config(
        "train.rounds=25", "train.slice_size=30", "eval.every=0", "train.devices_per_round=40", "model.dim=8"
    )
    run(settings, tmp_path, listeners=[watch])
    state = watch.states[-1]
    found = estimate(state.pulls, state.trained, 40).numpy()
    dataset = load("synthetic", LOG)
    train = np.concatenate([split(one).train for one in dataset.sequences])
    true = np.bincount(train, minlength=31)[1:]
    assert np.corrcoef(found, true)[0, 1] > 0.6
    assert found.max() <= 40


def test_marks_of_a_large_round_are_made_of_a_few_devices_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = updates(torch.randn(9, 20, 3, generator=torch.Generator().manual_seed(2)), list(range(1, 21)))
    whole = marks(sent)
    assert set(whole.unique().tolist()) == {TRAINED, PUSHED, PULLED}
    monkeypatch.setattr("server.round.popularity.HELD", 2 * 60)
    assert torch.equal(marks(sent), whole)
