"""Server steps by name: ``init`` and ``step`` pairs that turn the aggregate into a change of the model."""

from __future__ import annotations

from common.registry import Component, Registry
from server.optimizers.adagrad import RowwiseAdagrad
from server.optimizers.adam import Adam, BlockAdam, Yogi
from server.optimizers.base import Optimizer, ParameterUpdate, State, schedule
from server.optimizers.sgd import Momentum, Sgd

_OWN: dict[str, type[Optimizer]] = {
    "sgd": Sgd,
    "momentum": Momentum,
    "adam": Adam,
    "block_adam": BlockAdam,
    "yogi": Yogi,
    "rowwise_adagrad": RowwiseAdagrad,
}
OPTIMIZERS: Registry[Optimizer] = Registry("optimizer", "optimizers", _OWN, ("init", "step"))


def build_optimizer(component: Component) -> Optimizer:
    """The optimiser a config names. Raises ConfigError for an unknown name or parameter."""
    return OPTIMIZERS.build(component.name, component.params)


__all__ = ["OPTIMIZERS", "Optimizer", "ParameterUpdate", "State", "build_optimizer", "schedule"]
