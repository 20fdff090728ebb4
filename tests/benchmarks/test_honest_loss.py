"""What the stages take from honest updates: the table, its roles and its sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.honest_loss import ROLES, main, part, roles
from tests.client import samples


def test_the_table_has_a_line_for_each_stage_and_role(capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "data.name=synthetic",
        "model={dim: 8, max_len: 8, blocks: 1}",
        "train={devices_per_round: 16, slice_size: 40}",
    ]
    main([*(part for setting in small for part in ("--set", setting)), "--rounds", "1", "3"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    shares = {
        line.split("|")[1].strip(): [float(x.strip(" %")) for x in line.split("|")[2:-1]] for line in lines
    }
    assert {f"row is {role}" for role in ROLES} < shares.keys()
    assert all(len(row) == 2 and 0 < min(row) <= max(row) <= 100 for row in shares.values())
    assert shares["row is next item"] == [100.0, 100.0], "the bound is the model's own"
    assert max(shares["all rows, clipped at the median row"]) < 98


def test_roles_are_those_of_the_window() -> None:
    task = samples.task(negatives="full")
    cohort = replace(samples.cohort(task, [4], seed=1), sequences=[np.array([3, 1, 4, 2], dtype=np.int32)])
    found = roles(cohort, task.items)
    window = cohort.windows[0]
    place = {int(item): k for k, item in enumerate(task.items.tolist())}
    assert found[0, place[int(window[0])]] == 1
    assert found[0, place[int(window[1])]] == found[0, place[int(window[2])]] == 2
    assert found[0, place[int(window[3])]] == 0
    assert int((found == 3).sum()) == len(task.items) - len(np.unique(window))


def test_a_part_of_nothing_is_all_of_it() -> None:
    kept, energy = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 2.0]])
    assert part(kept, energy) == 0.75
    assert part(kept, energy, torch.tensor([[True, False]])) == 0.5
    assert part(kept, energy, torch.zeros(1, 2, dtype=torch.bool)) == 1.0
