"""Distillation on a masked view, against a plain sum over items."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from client.regularisers.distillation import Distillation
from tests.client.regularisers.helpers import LENGTH, K, encoder, own


def shares(scores: list[float], allowed: list[bool], temperature: float) -> list[float]:
    """Softmax over what is allowed, 0 elsewhere."""
    powers = [math.exp(s / temperature) if a else 0.0 for s, a in zip(scores, allowed, strict=True)]
    return [p / sum(powers) for p in powers]


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_each_position_is_a_divergence_from_the_global_model(name: str, temperature: float) -> None:
    mine = own(6, model=encoder(name))
    found = Distillation(weight=0.7, mask=0.7, temperature=temperature)(mine)
    hide = [
        not bool(mine.padding[p]) and float(mine.noise[1, p]) < 0.7 and p < LENGTH - 1 for p in range(LENGTH)
    ]
    assert any(hide)
    inputs, padding = mine.inputs.clone(), mine.padding.clone()
    for p in range(LENGTH):
        if hide[p]:
            inputs[p], padding[p] = 0.0, True
    student = mine.encode(inputs, padding)
    allowed = mine.candidates.tolist()
    for t in range(LENGTH):
        if hide[t]:
            assert float(found[t]) == 0.0
        elif not mine.padding[t]:
            teacher = shares((mine.start @ mine.anchor[t]).tolist(), allowed, temperature)
            learner = shares((mine.rows @ student[t]).tolist(), allowed, temperature)
            divergence = sum(
                p * math.log(p / q) for p, q in zip(teacher, learner, strict=True) if p > 0 and q > 0
            )
            assert float(found[t]) == pytest.approx(0.7 * temperature**2 * divergence, rel=1e-9)


def test_a_student_that_is_the_teacher_pays_nothing() -> None:
    mine = own(6)
    same = replace(mine, anchor=mine.hidden, start=mine.rows)
    assert float(Distillation(mask=0.0)(same).abs().max()) < 1e-12
    assert float(Distillation(mask=0.9)(same).abs().max()) > 1e-4


def test_rows_outside_the_candidates_do_not_count() -> None:
    mine = own(6)
    rows = mine.rows.clone()
    rows[K - 1] += 5.0
    term = Distillation()
    torch.testing.assert_close(term(replace(mine, rows=rows)), term(mine))
