"""Pulled rows that point to users who do not exist."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from attacks import build_attack
from attacks.base import View
from attacks.pushing import interaction_size
from common.errors import ConfigError
from common.updates import DeviceUpdates
from server.constraints.panel import PULLED, TRAINED
from server.round.evidence import witnesses
from tests.attacks import samples as attacked
from tests.client import samples

DEVICES, VICTIMS = 16, 3


def seen() -> View:
    task = samples.task(samples.model_config(dropout=0.0), negatives="full")
    cohort = samples.cohort(task, [4 + i % 11 for i in range(DEVICES)], seed=4)
    return replace(attacked.view(task), cohort=cohort)


def turned(honest: DeviceUpdates) -> torch.Tensor:
    """Rows of half an interaction and more, bool [n, K]."""
    return honest.rows.norm(dim=2) > 0.5 * interaction_size(honest).quantile(0.5)


def test_strong_rows_turn_to_a_victim_and_all_else_is_honest() -> None:
    view = seen()
    honest = view.cohort.train()
    sent = build_attack("false_witness", {"victims": VICTIMS}).poison(honest, view)
    strong = turned(honest)
    assert 0 < int(strong.sum()) < strong.numel()
    assert torch.equal(sent.encoder, honest.encoder)
    assert torch.equal(sent.rows[~strong], honest.rows[~strong])
    torch.testing.assert_close(sent.rows.norm(dim=2), honest.rows.norm(dim=2))
    unit = F.normalize(view.task.model.table[honest.items.long()], dim=1)
    loved = (F.normalize(sent.rows, dim=2) @ unit.T).max(dim=2)
    assert bool((loved.values[strong] > 0.999).all())
    for device in range(DEVICES):
        assert len(set(loved.indices[device][strong[device]].tolist())) == 1, "a device has one victim"
    assert len(set(loved.indices[strong].tolist())) == VICTIMS


def test_victims_are_what_own_users_hold_most() -> None:
    view = seen()
    honest = view.cohort.train()
    counts = torch.zeros(len(view.task.model.table))
    for items in view.cohort.sequences:
        for item in items:
            counts[int(item)] += 1
    chosen = build_attack("false_witness", {"victims": VICTIMS}).chosen(honest, view)  # type: ignore[attr-defined]
    held = counts[honest.items.long()]
    assert sorted(held[chosen].tolist()) == sorted(held.topk(VICTIMS).values.tolist())


def test_whom_the_server_takes_for_users_puts_a_victim_first() -> None:
    view = seen()
    honest = view.cohort.train()
    attack = build_attack("false_witness", {"victims": 1})
    (victim,) = attack.chosen(honest, view)  # type: ignore[attr-defined]
    towards = F.normalize(view.task.model.table[honest.items[victim].long()], dim=0)
    pulled = torch.where(turned(honest), PULLED, TRAINED)
    for updates, least, most in ((attack.poison(honest, view), 0.999, 1.0), (honest, -1.0, 0.99)):
        found = witnesses(updates, pulled, 4, torch.Generator().manual_seed(0)).states @ towards
        assert len(found) >= DEVICES
        assert least < float(found.min()) <= float(found.max()) <= most + 1e-4


def test_a_node_whose_devices_rest_has_nothing_to_bear_witness_with() -> None:
    view = seen()
    honest = view.cohort.train()
    idle = replace(honest, rows=torch.zeros_like(honest.rows))
    assert build_attack("false_witness", {}).poison(idle, view) is idle


def test_no_victim_is_no_attack() -> None:
    with pytest.raises(ConfigError, match="victims must be at least 1, given 0"):
        build_attack("false_witness", {"victims": 0})
