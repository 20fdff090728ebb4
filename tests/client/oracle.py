"""Local training as one would write it for a single device: a module, an embedding and an optimiser."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from common.data.types import Items
from common.models import build_model, layout_of
from common.tasks import TrainTask


class Recommender(nn.Module):
    """Encoder and the WHOLE item table, as a centralised program holds them."""

    def __init__(self, task: TrainTask) -> None:
        super().__init__()
        self.encoder = build_model(task.model_config)
        with torch.no_grad():
            named = layout_of(self.encoder).unflatten(task.model.encoder)
            for name, parameter in self.encoder.named_parameters():
                parameter.copy_(named[name])
        self.table = nn.Embedding.from_pretrained(task.model.table.clone(), freeze=False)

    def forward(self, items: Tensor, keep: Tensor) -> Tensor:
        hidden: Tensor = self.encoder(self.table(items), torch.zeros(len(items), dtype=torch.bool), keep)
        return hidden


def position_loss(name: str, scores: Tensor, log_q: Tensor, place: int, num_items: int) -> Tensor:
    """The loss of one position; scores [C] of the candidates, ``place`` of the right one."""
    others = torch.cat([scores[:place], scores[place + 1 :]])
    if name == "softmax":
        return F.cross_entropy((scores - log_q)[None], torch.tensor([place]))
    alpha = len(others) / (num_items - 1)
    beta = alpha * (0.75 * (1 - 1 / alpha) + 1 / alpha) if name == "gbce" else 1.0
    return -beta * F.logsigmoid(scores[place]) - F.logsigmoid(-others).sum()  # 1 − σ(s) = σ(−s)


def spread(losses: dict[tuple[int, int], Tensor], length: int, reach: int = 5, decay: float = 0.7) -> Tensor:
    """Σ_t Σ_k a_k·ℓ_t(k) − ℓ_t(1), a_k ∝ decay^k; ``losses``: (state t, position of the answer) -> ℓ."""
    total, whole = torch.zeros(()), sum(decay**k for k in range(2, reach + 1))
    for t in range(length):
        for k in range(2, reach + 1):
            total = total + decay**k / whole * losses.get((t, t + k - 1), torch.zeros(()))
        total = total - losses.get((t, t), torch.zeros(()))
    return total


def train_one(
    task: TrainTask, window: Items, candidates: Tensor, log_q: Tensor, keep: Tensor
) -> tuple[Tensor, Tensor]:
    """Update of one device: encoder [P] and the WHOLE table [N + 1, d].

    candidates [C]: the items this device may score and change; keep [E, sites, n, d] dropout of the
    n real positions.
    """
    start = Recommender(task)
    local = copy.deepcopy(start)
    frozen = torch.ones(len(task.model.table), 1)
    frozen[candidates] = 0.0
    local.table.weight.register_hook(lambda gradient: gradient * (1 - frozen))
    optimizer = torch.optim.SGD(local.parameters(), lr=task.train_config.local_lr)
    place = {int(item): i for i, item in enumerate(candidates)}
    sequence = torch.from_numpy(window).long()
    for number in range(task.train_config.local_steps):
        optimizer.zero_grad()
        total = torch.zeros(())
        if len(sequence) > 1:
            hidden = local(sequence[:-1], keep[number])
            scores = hidden @ local.table(candidates).T
            name, catalogue = task.train_config.loss, len(task.model.table) - 1
            answers = sequence[1:].tolist()
            losses = {
                (t, at): position_loss(name, scores[t], log_q, place[answer], catalogue)
                for t in range(len(answers))
                for at, answer in enumerate(answers)
                if answer in place
            }
            total = total + sum(losses[t, t] for t in range(len(answers)) if (t, t) in losses)
            anchor = start(sequence[:-1], torch.ones(keep.shape[1], 1, 1)).detach()
            for term in task.client_config.regularisers:
                away = (hidden - anchor).square().sum()
                added = away if term.name == "anchor" else spread(losses, len(answers))
                total = total + term.params["weight"] * added
        (total / task.model_config.max_len + 0.0 * sum(p.sum() for p in local.parameters())).backward()
        optimizer.step()
    layout = layout_of(start.encoder)
    moved = {
        name: (p - dict(start.encoder.named_parameters())[name]).detach()
        for name, p in local.encoder.named_parameters()
    }
    return layout.flatten(moved), (local.table.weight - start.table.weight).detach()


def hidden_of(model: nn.Module, encoder: Tensor, rows: Tensor, padding: Tensor) -> Tensor:
    """Hidden states [L, d] of one sequence without dropout."""
    out: Tensor = functional_call(model, layout_of(model).unflatten(encoder), (rows, padding))
    return out
