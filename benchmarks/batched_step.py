"""One local step of SASRec for n devices, batched by hand: what ``vmap(grad)`` has to keep up with.

The weights are shared, so that the forward pass is that of an ordinary batch [n, T, d]. Autograd gives the
slopes of what each layer makes, not of its weights; a device's slope of a matrix is the product of the two,
Gᵀ·A over its T positions, of all devices in one ``bmm``. Softmax loss, no dropout, no regularisers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from client.device_inputs import Device
from client.training import LocalTraining
from common.device import add_rows

EPSILON = 1e-5
"""Of ``nn.LayerNorm``."""


@dataclass
class Tape:
    """Layers of one pass: what went into each, and what came out, whose slopes autograd is asked for."""

    weights: dict[str, Tensor]
    layers: list[tuple[str, Tensor, Tensor]] = field(default_factory=list)

    def linear(self, name: str, x: Tensor) -> Tensor:
        """x [n, T, d] -> [n, T, d]."""
        out = F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))
        self.layers.append((name, x.detach(), out))
        return out

    def norm(self, name: str, x: Tensor) -> Tensor:
        """Layer normalisation of x [n, T, d]."""
        plain = F.layer_norm(x, x.shape[-1:], eps=EPSILON)
        out = plain * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
        self.layers.append((name, plain.detach(), out))
        return out

    def slopes(self, of_outputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Slopes by name [n, …] of every weight, from those of the outputs [n, T, d]."""
        found = {}
        for (name, x, _), slope in zip(self.layers, of_outputs, strict=True):
            if self.weights[f"{name}.weight"].dim() == 2:
                found[f"{name}.weight"] = slope.transpose(1, 2) @ x  # [n, d, T] @ [n, T, d]
            else:
                found[f"{name}.weight"] = (slope * x).sum(1)  # [n, d]
            if f"{name}.bias" in self.weights:
                found[f"{name}.bias"] = slope.sum(1)  # [n, d]
        return found


def batched_step(
    training: LocalTraining, encoder: Tensor, rows: Tensor, devices: Device, log_q: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As ``LocalTraining.cohort`` with one step: encoder [P], rows [K, d] -> updates [n, P], [n, K, d]."""
    tape = Tape(training.layout.unflatten(encoder))
    inputs = devices.context.detach().requires_grad_()  # [n, L, d]
    states = _encode(training, tape, inputs, devices)  # [n, m, d]
    scores = states @ rows.T  # [n, m, K]
    if log_q is not None:
        scores = scores - log_q
    size = len(rows)
    target = devices.slot_out.gather(1, devices.counted)  # [n, m]
    inside = target < size
    losses = F.cross_entropy(
        scores.transpose(1, 2), target.masked_fill(~inside, -100), reduction="sum", ignore_index=-100
    )
    outputs = [out for _, _, out in tape.layers]
    of_inputs, of_scores, *rest = torch.autograd.grad(losses / training.max_len, [inputs, scores, *outputs])
    slopes = tape.slopes(tuple(rest))
    slopes["position"] = torch.zeros_like(tape.weights["position"]).expand(len(inputs), -1, -1).clone()
    slopes["position"][:, -inputs.shape[1] :] = of_inputs / math.sqrt(inputs.shape[2])  # x = √d·e + p
    of_rows = of_scores.transpose(1, 2) @ states.detach()  # [n, K, m] @ [n, m, d]
    slots = devices.slot_in[:, :, 0]  # [n, L]; an item has one row
    learns = (slots < size)[:, :, None]  # [n, L, 1]
    place = slots.clamp(max=size - 1) + size * torch.arange(len(inputs))[:, None]  # [n, L]
    as_inputs = torch.where(learns, of_inputs, 0.0)
    add_rows(of_rows.view(-1, rows.shape[1]), place.flatten(), as_inputs.flatten(0, 1))
    change = torch.empty(len(inputs), training.layout.total)
    for name, part in training.layout.unflatten(change).items():
        torch.mul(slopes[name], -training.lr, out=part)
    return change, of_rows.mul_(-training.lr)


def _encode(training: LocalTraining, tape: Tape, inputs: Tensor, devices: Device) -> Tensor:
    """Hidden states [n, m, d] at the positions that count."""
    n, length, dim = inputs.shape
    x = inputs * math.sqrt(dim) + tape.weights["position"][-length:]  # [n, L, d]
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    itself = torch.eye(length, dtype=torch.bool)
    allowed = earlier & ~devices.padding[:, None, :] | itself  # [n, L, L]
    bias = torch.zeros(n, length, length).masked_fill_(~allowed, -1e9)
    blocks = int(training.model.config["blocks"])  # type: ignore[index, call-overload]
    for number in range(blocks):
        positions = devices.counted if number == blocks - 1 else None
        x = _block(tape, f"blocks.{number}", x, bias, positions)
    return tape.norm("norm", x)


def _block(tape: Tape, name: str, x: Tensor, bias: Tensor, positions: Tensor | None) -> Tensor:
    """One block with one head, at ``positions`` [n, m] or at all."""
    normed = tape.norm(f"{name}.attention_norm", x)  # [n, L, d]
    asking = normed
    if positions is not None:
        wide = positions[:, :, None].expand(-1, -1, x.shape[2])  # [n, m, d]
        asking, x = normed.gather(1, wide), x.gather(1, wide)
        bias = bias.gather(1, positions[:, :, None].expand(-1, -1, bias.shape[2]))  # [n, m, L]
    q, k, v = (
        tape.linear(f"{name}.{part}", given)
        for part, given in (("query", asking), ("key", normed), ("value", normed))
    )
    weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[2]) + bias, dim=-1)  # [n, m, L]
    x = x + tape.linear(f"{name}.output", weights @ v)
    hidden = torch.relu(tape.linear(f"{name}.inner", tape.norm(f"{name}.feed_norm", x)))
    return x + tape.linear(f"{name}.outer", hidden)
