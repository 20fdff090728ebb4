"""Leave-one-out."""

from __future__ import annotations

import numpy as np

from common.data.types import Items, Split

SHORTEST = 3
"""Items a history needs to be evaluated: one to train on, one to validate, one to test."""


def split(sequence: Items) -> Split:
    """Hold out the last item for the test and the one before for validation.

    A history of fewer than three items trains whole and is not evaluated: ``valid`` and ``test`` are 0,
    the padding number, which no item has.
    """
    items = np.asarray(sequence, dtype=np.int32)
    if len(items) < SHORTEST:
        return Split(train=items, valid=0, test=0)
    return Split(train=items[:-2], valid=int(items[-2]), test=int(items[-1]))
