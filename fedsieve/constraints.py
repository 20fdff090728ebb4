"""What a server step may do, and what a constraint of one's own is given.

Written by `python -m experiments.catalogue`.
"""

from server.constraints.base import Constraint, Evidence
from server.constraints.encoder import EncoderStep
from server.constraints.exposure import ExposureCap
from server.constraints.popularity import PopularityCap
from server.constraints.rows import RowDrift, RowNormCap
from server.constraints.trust import RowTrust
from server.constraints.variance import VarianceFloor

__all__ = [
    "Constraint",
    "EncoderStep",
    "Evidence",
    "ExposureCap",
    "PopularityCap",
    "RowDrift",
    "RowNormCap",
    "RowTrust",
    "VarianceFloor",
]
