"""Sequence models, and what training needs of one.

Written by `python -m experiments.catalogue`.
"""

from common.models import SequenceModel
from common.models.bert4rec import BERT4Rec
from common.models.esasrec import ESASRec
from common.models.fmlprec import FMLPRec
from common.models.gru4rec import GRU4Rec
from common.models.hstu import HSTU
from common.models.lrurec import LRURec
from common.models.sasrec import SASRec

__all__ = [
    "HSTU",
    "BERT4Rec",
    "ESASRec",
    "FMLPRec",
    "GRU4Rec",
    "LRURec",
    "SASRec",
    "SequenceModel",
]
