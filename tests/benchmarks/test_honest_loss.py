"""What the stages take from honest updates: the table, its roles and its sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.honest_loss import ROLES, averaged, main, part, roles, unmoved
from benchmarks.honest_page import LINES, PAGE, picture, table
from benchmarks.marks import marked, with_marked
from common.tasks import GlobalModel
from tests.client import samples


def test_the_table_has_a_line_for_each_stage_and_role(capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        "data.name=synthetic",
        "model={dim: 8, max_len: 8, blocks: 1}",
        "train={devices_per_round: 16, slice_size: 40}",
    ]
    main(
        [
            "demo",
            *(part for setting in small for part in ("--set", setting)),
            "--rounds",
            "1",
            "3",
            "--seeds",
            "0",
        ]
    )
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    shares = {line.split("|")[1].strip(): [float(x) for x in line.split("|")[2].split(",")] for line in lines}
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


def test_the_mean_of_seeds_is_taken_by_label() -> None:
    found = averaged([{"all rows": 1.0, "encoders": 0.5}, {"all rows": 0.5, "encoders": 0.5}])
    assert found == {"all rows": 0.75, "encoders": 0.5}


def test_a_row_that_the_cap_moved_is_not_left() -> None:
    items = torch.tensor([1, 2, 4], dtype=torch.int32)
    model = GlobalModel(torch.zeros(1), torch.ones(5, 2), None)
    held = replace(model, table=model.table.index_fill(0, torch.tensor([2, 3]), 0.5))
    assert unmoved(model, held, items) == pytest.approx(2 / 3)  # item 3 is not of the round


def test_a_part_of_nothing_is_all_of_it() -> None:
    kept, energy = torch.tensor([[1.0, 2.0]]), torch.tensor([[2.0, 2.0]])
    assert part(kept, energy) == 0.75
    assert part(kept, energy, torch.tensor([[True, False]])) == 0.5
    assert part(kept, energy, torch.zeros(1, 2, dtype=torch.bool)) == 1.0


def test_the_page_takes_the_table_and_the_picture_has_a_line_for_each_log_and_role() -> None:
    one = {**dict.fromkeys(LINES, 0.5), "encoders": 1.0}
    found = {"ml-100k": [one, one | {"row is both": 0.25}], "lastfm": [one, one]}
    made = table([30, 60], found)
    assert "| row is both | 50.0, 25.0 | 50.0, 50.0 |" in made
    page = PAGE.read_text(encoding="utf-8")
    assert made in with_marked(page, "honest", made)
    assert "row is next item" in marked(page, "honest"), "run python -m benchmarks.honest_loss --page"
    drawn = picture([30, 60], found)
    assert drawn.count("<polyline") == 2 * len(LINES)
    assert 'points="50.0,100.0 200.0,130.0"' in drawn


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="one table"):
        with_marked("nothing", "honest", "")
