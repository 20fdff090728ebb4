"""Which numbers the products of local training are computed in; parameters and updates are always float32."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

_LOG = logging.getLogger(__name__)


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """``train.precision`` for the block: ``float32``, ``tf32`` or ``bfloat16``.

    tf32: matrix products of float32 values round their inputs to 10 bits of mantissa, on an NVIDIA card
    alone; what was set before is set again after the block. bfloat16: autocast, with 7 bits.
    """
    if name == "bfloat16":
        # Within vmap and grad a weight is another tensor each time: casts are not to be kept.
        with torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False):
            yield
    elif name == "tf32" and device.type == "cuda":
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
    else:
        if name == "tf32":
            _without_effect(device.type)
        yield


@cache
def _without_effect(kind: str) -> None:
    """Said once."""
    _LOG.warning("train.precision is 'tf32', which has no effect on %s: it trains in float32", kind)
