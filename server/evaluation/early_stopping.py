"""Early stopping: the best model by validation so far, and how long none was better.

Prechelt, *Early Stopping – But When?* (1998), with patience counted in evaluations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from common.tasks import GlobalModel
from server.round.state import ServerState

WATCHED = "ndcg@10"
"""Of validation, over all devices that ranked."""


def noted(state: ServerState, round_: int, value: float) -> ServerState:
    """``state`` after an evaluation of its model at ``value``; a model that is only as good is not kept."""
    best = state.best
    if not best or value > float(best["value"]):
        kept = {"encoder": state.model.encoder.clone(), "table": state.model.table.clone()}
        kept |= {"value": _one(value), "round": _one(round_), "waited": _one(0)}
        return replace(state, best=kept)
    return replace(state, best={**best, "waited": best["waited"] + 1})


def over(best: Mapping[str, Tensor], patience: int) -> bool:
    """Whether ``patience`` evaluations in a row have not been better than the best; 0 waits for ever."""
    return bool(patience and best and int(best["waited"]) >= patience)


def kept(state: ServerState) -> ServerState:
    """``state`` as it was at its best round, as far as the model goes."""
    if not state.best:
        return state
    best: GlobalModel = replace(state.model, encoder=state.best["encoder"], table=state.best["table"])
    return replace(state, model=best, round=int(state.best["round"]))


def facts(best: Mapping[str, Tensor], rounds: int, patience: int) -> dict[str, Any]:
    """For the summary: the best round, and the rounds that there were; nothing without early stopping."""
    return {"best_round": int(best["round"]), "rounds": rounds, "patience": patience} if best else {}


def text(best: Mapping[str, Tensor], rounds: int, patience: int) -> str:
    """What the protocol line says of the model that was kept."""
    if not best:
        return ""
    where = f"round {int(best['round'])} of {rounds}"
    return f"; the model kept is that of {where}, best {WATCHED.upper()} of validation (patience {patience})"


def _one(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
