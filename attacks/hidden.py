"""Hidden states of an attacker's own devices under the global model: what their users look like."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from attacks.base import View
from client.batch import Batch, buckets
from common.models import layout_of, template
from common.tasks import TrainTask


def hidden_states(batch: Batch, task: TrainTask) -> Tensor:
    """h_t of every position without dropout: [n, ℓ, d]; as in ranking, but for times, which are not read."""
    model = template(task.model_config)
    named = layout_of(model).unflatten(task.model.encoder)

    def hidden(items: Tensor, padding: Tensor) -> Tensor:
        out: Tensor = functional_call(model, named, (items, padding))  # [ℓ, d]
        return out

    with torch.no_grad():
        states: Tensor = vmap(hidden)(task.model.embed(batch.inputs), batch.padding)  # [n, ℓ, d]
    return states


def last_states(view: View) -> Tensor:
    """The state after each own device's whole history, from which it is recommended to: [n, d].

    0 for a device without history.
    """
    task, sequences = view.task, view.cohort.sequences
    found = task.model.table.new_zeros(len(sequences), task.model.table.shape[1])
    for length, members in buckets([len(s) for s in sequences], task.model_config.max_len):
        inputs = torch.zeros(len(members), length, dtype=torch.int64)
        for row, member in enumerate(members):
            tail = torch.from_numpy(sequences[member][-length:].astype("int64"))
            inputs[row, length - len(tail) :] = tail
        inputs = inputs.to(found.device)
        batch = Batch(inputs, torch.zeros_like(inputs))
        found[members] = hidden_states(batch, task)[:, -1] * (inputs[:, -1:] > 0)
    return found
