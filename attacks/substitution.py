"""Replace a few items of a sequence so that the model, as it is, expects the target next."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn import functional as F

from client.batch import Batch
from common.models import layout_of, template
from common.tasks import TrainTask


def log_chance(rows: Tensor, padding: Tensor, target: int, task: TrainTask) -> Tensor:
    """log softmax of ``target`` over the catalogue after each sequence: rows [n, ℓ, d] -> [n], no dropout."""
    model = template(task.model_config, training=True)
    named = layout_of(model).unflatten(task.model.encoder)
    last = torch.tensor([rows.shape[1] - 1], device=rows.device)

    def last_hidden(items: Tensor, empty: Tensor) -> Tensor:
        out: Tensor = functional_call(model, named, (items, empty), {"positions": last})  # [1, d]
        return out[0]

    hidden = vmap(last_hidden)(rows, padding)  # [n, d]
    scores = hidden @ task.model.embeddings[1:].T  # [n, N]
    return torch.log_softmax(scores, dim=1)[:, target - 1]


def slopes(batch: Batch, target: int, task: TrainTask) -> Tensor:
    """∂ −log ŷ(target)/∂ e of each input, [n, ℓ, d]; 0 at padding."""
    rows = task.model.embeddings[batch.inputs].requires_grad_()  # [n, ℓ, d]
    loss = -log_chance(rows, batch.padding, target, task).sum()
    (gradient,) = torch.autograd.grad(loss, rows)
    return gradient.masked_fill(batch.padding[:, :, None], 0.0)


def steepest(slope: Tensor, padding: Tensor, count: int) -> Tensor:
    """Places of the ``count`` largest ‖slope‖ among real inputs, steepest first: int64 [n, ≤ count]."""
    size: Tensor = slope.norm(dim=2).masked_fill(padding, -1.0)  # [n, ℓ]
    return size.topk(min(count, size.shape[1]), dim=1).indices


def substitute(
    batch: Batch, target: int, task: TrainTask, positions: int, candidates: int, similar: float
) -> Tensor:
    """Inputs int64 [n, ℓ] with the steepest ``positions`` replaced, one after the other.

    An item s_j gives way to one of the ``candidates`` items v of largest cos(e_{s_j} − sign(g_j), e_v) among
    those with cos(e_v, e_{s_j}) ≥ ``similar`` (itself included), to that under which the target is most
    likely. O(n·(ℓ-step of the encoder + N·d)·(1 + positions·candidates)).
    """
    table, inputs = task.model.embeddings, batch.inputs
    unit = F.normalize(table, dim=1)  # [N + 1, d]
    slope = slopes(batch, target, task)  # [n, ℓ, d]
    every = torch.arange(len(inputs), device=inputs.device)
    with torch.no_grad():
        for place in steepest(slope, batch.padding, positions).T:  # [n]
            item = inputs[every, place]  # [n]
            ahead = F.normalize(table[item] - slope[every, place].sign(), dim=1)  # [n, d]
            allowed = unit[item] @ unit.T >= similar  # [n, N + 1]
            allowed[every, item] = True  # a cosine with itself may round to below 1
            allowed[:, 0] = False
            wanted = (ahead @ unit.T).masked_fill(~allowed, -torch.inf)  # [n, N + 1]
            best, found = wanted.topk(min(candidates, len(table)), dim=1)  # [n, C]
            found = torch.where(best.isfinite(), found, item[:, None])
            tried = torch.cat([_with(inputs, place, column) for column in found.T])  # [C·n, ℓ]
            padding = batch.padding.repeat(found.shape[1], 1)
            chance = log_chance(table[tried], padding, target, task).view(found.shape[1], -1)  # [C, n]
            chosen = found[every, chance.argmax(0)]  # [n]
            inputs = _with(inputs, place, torch.where(batch.padding[every, place], 0, chosen))
    return inputs


def _with(inputs: Tensor, place: Tensor, items: Tensor) -> Tensor:
    """Inputs [n, ℓ] with ``items`` [n] at ``place`` [n]."""
    return inputs.scatter(1, place[:, None], items[:, None])
