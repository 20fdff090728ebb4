"""DV-FSR: where it replaces items, by what, and what it uploads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attacks import build_attack
from attacks.dv_fsr import DvFsr
from attacks.pushing import interaction_size
from attacks.substitution import log_chance, slopes, substitute
from client.batch import Batch, make_batch
from client.ranking import score
from common.errors import ConfigError
from common.models import build_model
from common.tasks import TrainTask
from tests.attacks.samples import INSIDE, OUTSIDE, cohort, play, view
from tests.client import samples
from tests.client.oracle import hidden_of

MODELS = pytest.mark.parametrize("model", ["sasrec", "gru4rec"])


def windows(*lengths: int) -> Batch:
    return make_batch([samples.history(n) for n in lengths], samples.MAX_LEN)


def one_by_one(batch: Batch, task: TrainTask) -> Tensor:
    """∂ −log ŷ(target)/∂ rows of each sequence without its padding; [n, ℓ, d]."""
    found = torch.zeros(*batch.inputs.shape, samples.DIM)
    model = build_model(task.model_config).eval()
    for number, inputs in enumerate(batch.inputs):
        real = inputs > 0
        rows = task.model.table[inputs[real]].clone().requires_grad_()
        hidden = hidden_of(model, task.model.encoder, rows, torch.zeros(len(rows), dtype=torch.bool))[-1]
        loss = F.cross_entropy((task.model.table[1:] @ hidden)[None], torch.tensor([INSIDE - 1]))
        found[number, real] = torch.autograd.grad(loss, rows)[0]
    return found


def test_a_device_without_a_history_sends_numbers() -> None:
    """With a split by time a training part may be empty."""
    attack, task = build_attack("dv_fsr", {}), samples.task(negatives="full")
    own = samples.cohort(task, [5, 0, 7], seed=4)
    seen = replace(view(task, (INSIDE,)), cohort=own)
    sent = attack.poison(own.train(lambda batch, devices: attack.relabel(batch, seen)), seen)
    assert bool(sent.rows.isfinite().all())


@MODELS
def test_the_slopes_are_those_of_each_sequence_alone(model: str) -> None:
    task, batch = samples.task(samples.model_config(name=model)), windows(2, 6, 11)
    found = slopes(batch, INSIDE, task)
    torch.testing.assert_close(found, one_by_one(batch, task), atol=1e-5, rtol=1e-3)
    assert not bool(found[batch.padding].any())


def test_the_chance_of_the_target_is_that_of_the_ranking() -> None:
    task, batch = samples.task(), windows(2, 6, 11)
    model = build_model(task.model_config).eval()
    histories = [row[row > 0].numpy() for row in batch.inputs]
    scores = score(model, task.model, histories, samples.MAX_LEN).detach()[:, 1:]
    expected = torch.log_softmax(scores, dim=1)[:, INSIDE - 1]
    found = log_chance(task.model.table[batch.inputs], batch.padding, INSIDE, task)
    torch.testing.assert_close(found.detach(), expected)


@MODELS
@pytest.mark.parametrize("positions", [1, 2, 4])
def test_the_replaced_positions_have_the_largest_gradient_norms(model: str, positions: int) -> None:
    task, batch = samples.task(samples.model_config(name=model)), windows(2, 3, 6, 9, 11)
    norms = one_by_one(batch, task).norm(dim=2)
    changed = substitute(batch, INSIDE, task, positions, 3, -1.0) != batch.inputs
    assert bool(changed.any())
    for row, size, padding in zip(changed, norms, batch.padding, strict=True):
        largest = size.masked_fill(padding, -1).argsort(descending=True)[:positions]
        assert set(row.nonzero().flatten().tolist()) <= set(largest.tolist())
        assert not bool(row[padding].any())


def test_ever_more_candidates_make_the_target_ever_more_likely() -> None:
    task, batch = samples.task(), windows(*[11] * 20)

    def chance(inputs: Tensor) -> Tensor:
        return log_chance(task.model.table[inputs], batch.padding, INSIDE, task).detach()

    real = chance(batch.inputs)
    few, all_ = (chance(substitute(batch, INSIDE, task, 1, count, -1.0)) for count in (1, samples.ITEMS))
    assert bool((all_ >= few - 1e-6).all())
    assert bool((all_ >= real - 1e-6).all())  # the item itself is among all candidates
    assert float(all_.mean()) > float(real.mean()) + 0.1


def test_an_item_gives_way_only_to_one_like_it() -> None:
    task, batch = samples.task(), windows(*[11] * 20)
    unit = F.normalize(task.model.table, dim=1)
    for similar in (0.3, 0.5):
        found = substitute(batch, INSIDE, task, 3, 5, similar)
        cos = (unit[found] * unit[batch.inputs]).sum(2)
        assert float(cos.min()) >= similar - 1e-6
        assert not bool((found[~batch.padding] == 0).any())
    assert torch.equal(substitute(batch, INSIDE, task, 3, 5, 1.01), batch.inputs)


def test_the_best_candidate_lies_against_the_sign_of_the_slope() -> None:
    task, batch = samples.task(), windows(6)
    slope = one_by_one(batch, task)[0]
    place = int(slope.norm(dim=1).argmax())
    ahead = task.model.table[batch.inputs[0, place]] - slope[place].sign()
    cos = F.cosine_similarity(task.model.table[1:], ahead[None], dim=1)
    found = substitute(batch, INSIDE, task, 1, 1, -1.0)
    assert int(found[0, place]) == 1 + int(cos.argmax())


@pytest.mark.parametrize("part", ["explicit", "both"])
def test_the_false_sequence_says_that_the_target_follows_at_its_end(part: str) -> None:
    batch, seen = windows(0, 2, 6, 11), view(samples.task())
    found = build_attack("dv_fsr", {"part": part}).relabel(batch, seen)
    assert found.targets[:, -1].tolist() == [0, INSIDE, INSIDE, INSIDE]
    assert not bool(found.targets[:, :-1].any())
    assert torch.equal(found.padding, batch.padding)


def test_the_implicit_part_leaves_sequence_encoder_and_other_rows_alone() -> None:
    batch, attack = windows(6), DvFsr(part="implicit")
    round_ = play(attack, samples.task())
    assert attack.relabel(batch, round_.seen) is batch
    assert torch.equal(round_.sent.encoder, round_.honest.encoder)
    changed = (round_.sent.rows != round_.honest.rows).any(dim=2).any(dim=0)
    assert changed.nonzero().flatten().tolist() == round_.seen.slots()


def test_the_implicit_part_pulls_the_row_to_the_mean_of_the_history() -> None:
    task, attack = samples.task(), DvFsr(negatives=7)
    seen, again = view(task), view(task)
    found = attack.contrast(INSIDE, seen).double()
    others = [i for i in range(1, samples.ITEMS + 1) if i != INSIDE]
    drawn = torch.randint(len(others), (7,), generator=again.generator)
    table = task.model.table.double()
    for window, mine in zip(cohort(task).windows, found, strict=True):
        leaf = table[INSIDE].clone().requires_grad_()
        rows = [table[torch.from_numpy(window).long()].mean(0), *(table[others[k]] for k in drawn.tolist())]
        cos = torch.stack([torch.dot(leaf, r) / leaf.norm() / r.norm() for r in rows])
        expected = torch.autograd.grad(-torch.log_softmax(cos, 0)[0], leaf)[0]
        torch.testing.assert_close(mine, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("steps", [1, 3])
def test_both_is_the_sum_of_the_parts_before_they_are_scaled(steps: int) -> None:
    task = samples.task(samples.model_config(dropout=0.0), local_steps=steps)
    explicit, both = (play(DvFsr(part=part, boost=1.0), task) for part in ("explicit", "both"))
    slot = both.seen.slots()[0]
    trained = cohort(task).train(lambda batch, devices: DvFsr().relabel(batch, view(task)))
    term = steps * task.train_config.local_lr / samples.MAX_LEN * DvFsr().contrast(INSIDE, view(task))
    size = interaction_size(trained)[:, None]
    expected = F.normalize(trained.rows[:, slot] - term, dim=1) * size
    torch.testing.assert_close(both.sent.rows[:, slot], expected, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(
        explicit.sent.rows[:, slot], F.normalize(trained.rows[:, slot], dim=1) * size, atol=1e-6, rtol=1e-4
    )
    assert torch.equal(both.sent.encoder, trained.encoder)


def test_several_targets_take_turns_over_the_rounds() -> None:
    seen = view(samples.task(), (INSIDE, OUTSIDE, 3))
    found = [DvFsr().target(replace(seen, task=replace(seen.task, round=r))) for r in (1, 2, 3)]
    assert found == [3, INSIDE, 3]
    assert DvFsr().target(view(samples.task(), ())) == 0


def test_an_unknown_part_is_told() -> None:
    with pytest.raises(ConfigError, match="part is 'covert'; valid: explicit, implicit, both"):
        build_attack("dv_fsr", {"part": "covert"})
    with pytest.raises(ConfigError, match="positions must be a whole number of at least 1"):
        build_attack("dv_fsr", {"positions": 0})
