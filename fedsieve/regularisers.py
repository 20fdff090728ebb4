"""Terms of a device's loss, and what one of one's own is derived from.

Written by `python -m experiments.catalogue`.
"""

from client.regularisers.anchor import Anchor
from client.regularisers.base import Own, Regulariser
from client.regularisers.lookahead import Lookahead
from client.regularisers.uniformity import Uniformity

__all__ = [
    "Anchor",
    "Lookahead",
    "Own",
    "Regulariser",
    "Uniformity",
]
