"""Which items train, validate and test."""

from __future__ import annotations

import numpy as np
import pytest

from common.data import split


@pytest.mark.parametrize(
    ("history", "train", "valid", "test"),
    [
        ([4, 3, 2, 1], [4, 3], 2, 1),
        ([4, 3, 2], [4], 3, 2),
        ([4, 3], [4, 3], 0, 0),
        ([4], [4], 0, 0),
        ([], [], 0, 0),
    ],
)
def test_split(history: list[int], train: list[int], valid: int, test: int) -> None:
    parts = split(np.array(history, dtype=np.int32))
    assert (parts.train.tolist(), parts.valid, parts.test) == (train, valid, test)
    assert parts.train.dtype == np.int32
    assert type(parts.valid) is int
