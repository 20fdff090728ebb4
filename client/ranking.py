"""Federated evaluation: a device ranks the full catalogue and sends sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from common.data.types import Items
from common.metrics import add, exposure_values, rank_values
from common.models import layout_of
from common.tasks import EXPOSURES, GROUPS, METRICS, EvaluateSums, GlobalModel

BUCKET = 128
"""Devices scored at once: bounds memory at BUCKET · catalogue size scores."""


def score(model: nn.Module, parameters: GlobalModel, histories: Sequence[Items], max_len: int) -> Tensor:
    """Scores of every catalogue item as the next of each history: [n, N + 1], column 0 meaningless."""
    inputs = np.zeros((len(histories), max_len), dtype=np.int64)
    for row, items in enumerate(histories):
        tail = items[-max_len:]
        if len(tail):
            inputs[row, -len(tail) :] = tail
    ids = torch.from_numpy(inputs)  # [n, L]
    named = layout_of(model).unflatten(parameters.encoder)
    last = torch.tensor([max_len - 1], device=ids.device)

    def last_hidden(items: Tensor, padding: Tensor) -> Tensor:
        out: Tensor = functional_call(model, named, (items, padding), {"positions": last})  # [1, d]
        return out[0]

    hidden = vmap(last_hidden)(parameters.table[ids], ids == 0)  # [n, d]
    return hidden @ parameters.table.T  # [n, N + 1]


def rank(scores: Tensor, target: Tensor, excluded: Tensor) -> Tensor:
    """0-based rank int64 [n] of ``target`` [n] among items not ``excluded`` (bool [n, N + 1]).

    Ties go to the lower item number. A score that is not finite ranks last.
    """
    own = scores.gather(1, target[:, None])  # [n, 1]
    number = torch.arange(scores.shape[1])
    ahead = (scores > own) | ((scores == own) & (number < target[:, None]))  # [n, N + 1]
    ranks = (ahead & ~excluded).sum(1)
    worst = torch.full_like(ranks, scores.shape[1])
    return torch.where(torch.isfinite(own.squeeze(1)), ranks, worst)


def nothing(targets: int) -> EvaluateSums:
    """The sums of no devices."""
    return EvaluateSums(
        metrics=torch.zeros(len(GROUPS), len(METRICS), dtype=torch.float64),
        count=torch.zeros(len(GROUPS), dtype=torch.int64),
        exposure=torch.zeros(targets, len(EXPOSURES), dtype=torch.float64),
        eligible=torch.zeros(targets, dtype=torch.int64),
    )


def answer_ranks(
    model: nn.Module,
    parameters: GlobalModel,
    histories: Sequence[Items],
    answers: Sequence[int],
    max_len: int,
) -> Tensor:
    """0-based ranks of ``answers`` after ``histories``, int64 [2, n]: seen items filtered, and not."""
    parts = []
    for i in range(0, len(histories), BUCKET):
        some = histories[i : i + BUCKET]
        scores = score(model, parameters, some, max_len)
        padding, seen = _excluded(some, scores.shape[1])
        answer = torch.tensor(list(answers[i : i + BUCKET]), dtype=torch.int64)
        parts.append(torch.stack([rank(scores, answer, seen), rank(scores, answer, padding)]))
    return torch.cat(parts, dim=1)


def evaluate(
    model: nn.Module,
    parameters: GlobalModel,
    histories: Sequence[Items],
    answers: Sequence[int],
    targets: Sequence[int],
    quartiles: tuple[int, int, int],
    max_len: int,
) -> EvaluateSums:
    """Sums over devices: rank of ``answers`` after ``histories``, exposure of ``targets``.

    Seen items are filtered, and not filtered beside it. A device counts for a target that is neither
    in its history nor its answer.
    """
    sums = [
        _evaluate_some(
            model, parameters, histories[i : i + BUCKET], answers[i : i + BUCKET], targets, quartiles, max_len
        )
        for i in range(0, len(histories), BUCKET)
    ]
    return replace(add([nothing(len(targets)), *sums]), quartiles=quartiles)


def _excluded(histories: Sequence[Items], width: int) -> tuple[Tensor, Tensor]:
    """Columns that no device ranks, and those with its history too: bool [n, width] each."""
    padding = torch.zeros(len(histories), width, dtype=torch.bool)
    padding[:, 0] = True
    seen = padding.clone()
    for row, items in enumerate(histories):
        seen[row, torch.from_numpy(items.astype(np.int64))] = True
    return padding, seen


def _evaluate_some(
    model: nn.Module,
    parameters: GlobalModel,
    histories: Sequence[Items],
    answers: Sequence[int],
    targets: Sequence[int],
    quartiles: tuple[int, int, int],
    max_len: int,
) -> EvaluateSums:
    n = len(histories)
    scores = score(model, parameters, histories, max_len)
    padding, seen = _excluded(histories, scores.shape[1])
    answer = torch.tensor(list(answers), dtype=torch.int64)
    # An answer that recurs in the history is not filtered: it competes with the unseen items.
    values = rank_values(rank(scores, answer, seen), rank(scores, answer, padding))  # [n, M]
    groups = _groups(torch.tensor([len(h) for h in histories]), quartiles)  # [G, n]
    sums = nothing(len(targets))
    for place, target in enumerate(targets):
        free = ~seen[:, target] & (answer != target)  # [n]
        ranks = rank(scores, torch.full((n,), target), seen)
        sums.exposure[place] = exposure_values(ranks)[free].sum(0)
        sums.eligible[place] = free.sum()
    return EvaluateSums(groups.double() @ values, groups.sum(1), sums.exposure, sums.eligible)


def _groups(lengths: Tensor, quartiles: tuple[int, int, int]) -> Tensor:
    """Membership bool [len(GROUPS), n]: everyone, then each quartile of history length."""
    place = torch.bucketize(lengths, torch.tensor(quartiles))  # [n] in 0..3
    return torch.stack([torch.ones_like(place, dtype=torch.bool), *(place == q for q in range(4))])
