"""Sequence models, and what training needs of one.

Written by `python -m experiments.catalogue`.
"""

from common.models import SequenceModel
from common.models.gru4rec import GRU4Rec
from common.models.sasrec import SASRec

__all__ = [
    "GRU4Rec",
    "SASRec",
    "SequenceModel",
]
