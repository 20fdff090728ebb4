"""What made-up users do not show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from attacks import View, build_attack
from attacks.hidden import last_states
from attacks.unseen import beside, made_up_mean
from common.probes import made_up
from common.seeding import generator
from common.tasks import GlobalModel
from server.constraints.exposure import ExposureCap
from tests.attacks import samples as attacked
from tests.client import samples


def seen() -> View:
    """Sixteen devices under a model whose users all lean one way."""
    task = samples.task(samples.model_config(dropout=0.0), negatives="full")
    cohort = samples.cohort(task, [4 + i % 11 for i in range(16)], seed=4)
    return replace(attacked.view(task), cohort=cohort)


def test_beside_has_nothing_along_what_is_known() -> None:
    g = torch.Generator().manual_seed(0)
    mean, known = torch.randn(8, generator=g), torch.randn(8, generator=g)
    left = beside(mean, known)
    assert abs(float(left @ known)) < 1e-5
    torch.testing.assert_close(left + (mean @ known) / (known @ known) * known, mean)
    assert torch.equal(beside(mean, torch.zeros(8)), mean)


def test_the_attacker_makes_users_up_from_its_own_histories_as_the_server_does() -> None:
    view = seen()
    found = made_up_mean(view)
    size = len(view.task.model.table) - 1
    counts = np.zeros(size)
    for items in view.cohort.sequences:
        for item in items:
            counts[int(item) - 1] += 1
    draw = generator(view.seed, "unseen", view.task.round)
    lengths = torch.tensor([len(s) for s in view.cohort.sequences])
    lengths = lengths[torch.randint(16, (256,), generator=draw)].clamp(max=view.task.model_config.max_len)
    items = made_up(torch.from_numpy(counts), lengths, draw, view.task.model.table, ExposureCap.recipe.taste)
    mine = replace(view, cohort=replace(view.cohort, sequences=[row[row > 0].numpy() for row in items]))
    torch.testing.assert_close(last_states(mine).mean(0), found, rtol=1e-4, atol=1e-5)


def test_the_target_moves_where_made_up_users_do_not_look() -> None:
    view = seen()
    table = view.task.model.table
    view = replace(view, task=replace(view.task, model=GlobalModel(view.task.model.encoder, table + 0.3)))
    honest = view.cohort.train()
    known, users = made_up_mean(view), last_states(view).mean(0)
    (slot,) = view.slots()
    along = {}
    for mode in ("row", "unseen"):
        rows = build_attack("adaptive", {"mode": mode}).poison(honest, view).rows[:, slot]
        along[mode] = F.normalize(rows.mean(0), dim=0)  # what is each device's own cancels
    known = F.normalize(known, dim=0)
    assert float(along["row"] @ known) > 0.8
    assert abs(float(along["unseen"] @ known)) < 0.3
    assert float(along["unseen"] @ users) > 0
