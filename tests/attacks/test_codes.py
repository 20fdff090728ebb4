"""Attacks where items share their rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attacks import ATTACKS
from client.ranking import score
from common.models import build_model
from common.tasks import TrainTask
from common.updates import DeviceUpdates
from server.round.faults import faults
from tests.attacks.samples import INSIDE, LENGTHS, OUTSIDE, cohort, equal, played, view
from tests.attacks.test_contract import GUESSING, TAMPERING
from tests.client import samples

ABLE = [name for name, rule in ATTACKS.items() if not rule.owned]
TARGETED = [name for name in ABLE if ATTACKS[name].goal == "targeted"]
BOOKS, ROWS = 3, 7


def task() -> TrainTask:
    return samples.task(samples.model_config(dropout=0.0, code_books=BOOKS, code_rows=ROWS))


def test_the_rows_of_a_target_are_open_in_every_round() -> None:
    seen = view(task(), (INSIDE, OUTSIDE))
    codes = seen.task.model.numbers(torch.tensor([INSIDE, OUTSIDE]))
    assert seen.slots() == (codes - 1).flatten().tolist()
    assert seen.aims() == [INSIDE] * BOOKS + [OUTSIDE] * BOOKS
    assert torch.equal(seen.aimed()[BOOKS], seen.task.model.embeddings[OUTSIDE])


@pytest.mark.parametrize("name", ABLE)
def test_every_attack_runs_and_does_something(name: str) -> None:
    round_ = played(name, task())
    assert round_.sent.rows.shape == (len(LENGTHS), BOOKS * ROWS, samples.DIM)
    refused = ATTACKS[name].kind == "protocol" and name not in TAMPERING
    assert set(faults(round_.sent)) == (set(range(len(LENGTHS))) if refused else set())
    assert equal(round_.honest, round_.sent) == (name == "control" or name in TAMPERING)


@pytest.mark.parametrize(
    "name", [name for name in TARGETED if name not in (*GUESSING, "subgroup")]
)  # that pushes others away
def test_a_targeted_attack_pulls_its_target_through_its_code_rows(name: str) -> None:
    what = task()
    round_ = played(name, what)
    encoder = build_model(what.model_config).eval()
    sequences = cohort(what).sequences

    def target_score(updates: DeviceUpdates) -> float:
        table = what.model.table.index_add(0, updates.items.long(), 0.1 * updates.rows.mean(0))
        moved = replace(what.model, table=table)
        return float(score(encoder, moved, sequences, samples.MAX_LEN)[:, INSIDE].detach().mean())

    assert target_score(round_.sent) > target_score(round_.honest)


def test_only_what_aims_at_single_rows_is_left_out() -> None:
    assert [name for name, rule in ATTACKS.items() if rule.owned] == ["false_witness"]
