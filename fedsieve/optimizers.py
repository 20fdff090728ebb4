"""Server steps, and what one of one's own is given.

Written by `python -m experiments.catalogue`.
"""

from server.optimizers.adagrad import RowwiseAdagrad
from server.optimizers.adam import Adam, BlockAdam, Yogi
from server.optimizers.base import Optimizer, ParameterUpdate
from server.optimizers.sgd import Momentum, Sgd

__all__ = [
    "Adam",
    "BlockAdam",
    "Momentum",
    "Optimizer",
    "ParameterUpdate",
    "RowwiseAdagrad",
    "Sgd",
    "Yogi",
]
