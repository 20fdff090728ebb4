"""A model, a step, and one application of a constraint."""

from __future__ import annotations

import torch

from common.settings import component
from common.tasks import GlobalModel
from experiments.contracts.constraints import D as D
from experiments.contracts.constraints import K as K
from experiments.contracts.constraints import N as N
from experiments.contracts.constraints import evidence as evidence
from experiments.contracts.constraints import louder as louder
from experiments.contracts.constraints import model as model
from experiments.contracts.constraints import no_witnesses as no_witnesses
from experiments.contracts.constraints import nothing_seen as nothing_seen
from experiments.contracts.constraints import states as states
from experiments.contracts.constraints import step as step
from experiments.contracts.constraints import users as users
from server.constraints import build_constraints
from server.optimizers import ParameterUpdate


def length(delta: ParameterUpdate) -> float:
    return float(torch.cat([block.flatten() for block in delta.encoder.values()]).double().norm())


def apply(
    name: str, delta: ParameterUpdate, at: GlobalModel | None = None, **params: object
) -> tuple[ParameterUpdate, dict[str, float]]:
    chain = build_constraints([component(name, **params)])
    at = at or model()
    after, _, figures = chain(at, delta, chain.init(at), evidence())
    return after, figures
