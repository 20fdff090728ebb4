"""At which next items the loss is, and what a model that learns by cloze may see of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from client.cohort import Cohort
from client.losses import softmax
from common.config import TrainConfig
from common.errors import ConfigError
from common.models import build_model, layout_of
from common.settings import validate
from common.tasks import TrainTask
from tests.client.samples import ITEMS, cohort, history, model_config, task

CLOSE = {"rtol": 1e-4, "atol": 3e-5}


def bert(**train: Any) -> TrainTask:
    return task(model_config(name="bert4rec", dropout=0.0), negatives="full", **train)


def loop(what: TrainTask, window: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
    """−lr times the gradient of Σ −log p / L at the asked targets, by autograd on ONE window [n]."""
    model = build_model(what.model_config)
    encoder = what.model.encoder.clone().requires_grad_()
    table = what.model.table.clone().requires_grad_()
    named, inputs = layout_of(model).unflatten(encoder), window[:-1]
    nothing = torch.zeros(len(inputs), dtype=torch.bool)
    more = {}
    if hasattr(model, "cloze"):
        more["masked"] = torch.cat([nothing[:1], asked[:-1]])
    states = functional_call(model, named, (table[inputs], nothing), more)  # [n − 1, d]
    losses = F.cross_entropy(states @ table[1:].T, window[1:] - 1, reduction="none")  # [n − 1]
    ((losses * asked).sum() / what.model_config.max_len).backward()
    assert encoder.grad is not None
    assert table.grad is not None
    return -what.train_config.local_lr * encoder.grad, -what.train_config.local_lr * table.grad[1:]


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
@pytest.mark.parametrize("targets", ["all", "last"])
def test_a_device_learns_at_the_targets_that_it_is_asked_for(name: str, targets: str) -> None:
    what = task(model_config(name=name, dropout=0.0), negatives="full", targets=targets)
    trained = cohort(what, [3, 6, 11, 25])
    updates = trained.train()
    for place, window in enumerate(trained.windows):
        items = torch.from_numpy(np.asarray(window)).long()
        asked = torch.ones(len(items) - 1, dtype=torch.bool)
        if trained.targets.asked is not None:
            asked = trained.targets.asked[place, 0, 1 - len(items) :]
            assert bool(asked[-1])
        encoder, rows = loop(what, items, asked)
        torch.testing.assert_close(updates.encoder[place], encoder, **CLOSE)
        torch.testing.assert_close(updates.rows[place], rows, **CLOSE)


def test_the_share_that_is_hidden_is_the_models_own() -> None:
    what = replace(bert(), model_config=model_config(name="bert4rec", params={"cloze": 0.6}))
    asked = cohort(what, [25] * 400).targets.asked
    assert asked is not None
    assert float(asked[:, :, :-1].float().mean()) == pytest.approx(0.6, abs=0.03)
    assert bool(asked[:, :, -1].all())
    assert cohort(task(negatives="full")).targets.asked is None


def test_each_local_step_and_round_hides_others() -> None:
    three = cohort(bert(local_steps=3), [25] * 5).targets.asked
    assert three is not None
    assert not torch.equal(three[:, 0], three[:, 1])
    later = cohort(replace(bert(), round=4), [25] * 5).targets.asked
    assert later is not None
    assert not torch.equal(three[:, 0], later[:, 0])


def test_several_steps_descend_one_after_the_other() -> None:
    what = bert(local_steps=2)
    trained = cohort(what, [11])
    assert trained.targets.asked is not None
    window = torch.from_numpy(np.asarray(trained.windows[0])).long()
    model = what.model
    for step in range(2):
        now = replace(what, model=model)
        encoder, rows = loop(now, window, trained.targets.asked[0, step])
        table = torch.cat([model.table[:1], model.table[1:] + rows])
        model = replace(model, encoder=model.encoder + encoder, table=table)
    updates = trained.train()
    torch.testing.assert_close(updates.encoder[0], model.encoder - what.model.encoder, **CLOSE)
    torch.testing.assert_close(updates.rows[0], (model.table - what.model.table)[1:], **CLOSE)


def test_a_model_never_sees_an_item_that_it_is_asked_for() -> None:
    """What stands at a hidden place changes no state at all."""
    what, g = bert(), torch.Generator().manual_seed(3)
    model = build_model(what.model_config)
    named = layout_of(model).unflatten(what.model.encoder)
    items, padding = torch.randn(8, 8, generator=g), torch.zeros(8, dtype=torch.bool)
    hidden = torch.tensor([0, 0, 1, 0, 1, 0, 0, 1], dtype=torch.bool)
    other = torch.where(hidden[:, None], 5 * torch.randn(8, 8, generator=g), items)
    before, after = (functional_call(model, named, (x, padding), {"masked": hidden}) for x in (items, other))
    assert torch.equal(before, after)
    open_ = functional_call(model, named, (other, padding), {"masked": torch.zeros_like(hidden)})
    assert not torch.allclose(before, open_, atol=1e-3)


def test_a_device_is_busy_if_it_is_asked_for_an_item_of_the_slice() -> None:
    """Who is not would send zeros."""
    for model in ("bert4rec", "sasrec"):
        what = task(model_config(name=model, dropout=0.0), targets="last" if model == "sasrec" else "all")
        trained = cohort(what, range(2, 40))
        moved = np.flatnonzero(trained.train().rows.flatten(1).any(dim=1).numpy())
        assert moved.tolist() == trained.busy().tolist()
        assert 0 < len(moved) < len(trained.devices)
        plain = cohort(task(model_config(dropout=0.0)), range(2, 40))
        assert set(moved) < set(plain.busy().tolist())


def test_labels_are_smoothed_over_the_candidates() -> None:
    g = torch.Generator().manual_seed(1)
    scores, target = torch.randn(4, 7, generator=g), torch.tensor([0, 3, 6, 3])
    found = softmax(scores, target, None, 40, smoothing=0.2)
    expected = F.cross_entropy(scores, target, reduction="none", label_smoothing=0.2)
    torch.testing.assert_close(found, expected)
    some = torch.tensor([1, 0, 0, 1, 1, 1, 1], dtype=torch.bool)
    among = F.cross_entropy(
        scores[:, some], torch.tensor([0, 1, 4, 1]), reduction="none", label_smoothing=0.2
    )
    torch.testing.assert_close(softmax(scores, target, some, 40, smoothing=0.2), among)


@pytest.mark.parametrize(
    ("setting", "plain"),
    [
        ({"label_smoothing": 0.3}, {}),
        ({"loss": "gbce", "calibration": 0.1}, {"loss": "gbce"}),
        ({"loss": "sampled_softmax"}, {}),
    ],
)
def test_the_settings_of_a_loss_reach_the_devices(setting: dict[str, Any], plain: dict[str, Any]) -> None:
    changed, usual = (cohort(task(**train), [25]).train().rows for train in (setting, plain))
    assert float((changed - usual).abs().max()) > 1e-3


def test_only_softmax_has_smooth_labels() -> None:
    assert TrainConfig.model_validate({"loss": "sampled_softmax", "label_smoothing": 0.1})
    with pytest.raises(ConfigError, match=r"train.label_smoothing: .*expected 0 beside train.loss: bce"):
        validate({"train": {"loss": "bce", "label_smoothing": 0.1}})


def test_the_loss_of_many_is_the_sum_of_theirs_and_leads_back_to_the_model() -> None:
    """What a centralised program differentiates: its gradient is −1/lr times the sum of all updates."""
    what = task(model_config(), negatives="full", targets="last")
    leaves = (what.model.encoder.requires_grad_(), what.model.table.requires_grad_())
    trained = Cohort(what, range(9), [history(n) for n in range(3, 12)], key=5)
    sum(trained.losses()).backward()  # type: ignore[union-attr]
    gradients = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.requires_grad_(False)
    updates = trained.train()
    rate = what.train_config.local_lr
    torch.testing.assert_close(-rate * gradients[0], updates.encoder.sum(0), **CLOSE)
    assert gradients[1] is not None
    torch.testing.assert_close(-rate * gradients[1][1:], updates.rows.sum(0), **CLOSE)
    assert len(gradients[1]) == ITEMS + 1
