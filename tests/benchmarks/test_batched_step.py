"""What the cohort is measured against does the same work."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.batched_step import batched_step
from benchmarks.throughput import main, make_task
from client.batch import Histories


@pytest.mark.parametrize("cut", [51, 20])
def test_a_batch_by_hand_makes_the_updates_of_the_cohort(cut: int) -> None:
    """Also where windows are shorter than their bucket, and differ."""
    whole = make_task(12, items=300, slice_size=60, steps=1)
    histories = Histories.of([items[: cut - k] for k, items in enumerate(whole.sequences)], dtype="int32")
    cohort = replace(whole, sequences=histories)
    training, rows, encoder = cohort._training(), cohort.rows, cohort.task.model.encoder
    start = cohort.task.model.table[rows.items.long()]
    for _, chunk in cohort._chunks(training, rows, None):
        mapped = training.cohort(encoder, start, chunk, rows.log_q)
        by_hand = batched_step(training, encoder, start, chunk, rows.log_q)
        for one, other in zip(mapped, by_hand, strict=True):
            assert one.abs().max() > 1e-3
            assert torch.allclose(one, other, atol=1e-6)


def test_the_benchmark_tells_the_ratio(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["throughput", "--devices", "4", "--repeats", "1", "--batched", "4"])
    main()
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith("one step of 4 devices, ")
    assert "times a batch by hand" in told
