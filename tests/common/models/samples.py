"""Models with no parameter at a neutral value, and random sequences."""

from __future__ import annotations

from common.models import MODELS
from experiments.contracts.models import DIM as DIM
from experiments.contracts.models import MAX_LEN as MAX_LEN
from experiments.contracts.models import build as build
from experiments.contracts.models import nothing as nothing
from experiments.contracts.models import padded as padded
from experiments.contracts.models import sequence as sequence

NAMES = sorted(MODELS)
