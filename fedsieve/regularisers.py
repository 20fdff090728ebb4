"""Terms of a device's loss, and what one of one's own is derived from.

Written by `python -m experiments.catalogue`.
"""

from client.regularisers.base import Own, Regulariser
from client.regularisers.distillation import Distillation
from client.regularisers.order import OrderConsistency
from client.regularisers.states import Anchor, Coherence
from client.regularisers.uniformity import Uniformity
from client.regularisers.views import TwoViews

__all__ = [
    "Anchor",
    "Coherence",
    "Distillation",
    "OrderConsistency",
    "Own",
    "Regulariser",
    "TwoViews",
    "Uniformity",
]
