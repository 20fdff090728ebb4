"""The global model as a Flower ArrayRecord, for Flower's own interfaces."""

from __future__ import annotations

import torch
from flwr.app import Array, ArrayRecord

from common.errors import ConfigError
from common.tasks import GlobalModel


def to_record(model: GlobalModel) -> ArrayRecord:
    """Two arrays: ``encoder`` float32 [P] and ``table`` float32 [N + 1, d]."""
    return ArrayRecord({"encoder": Array(model.encoder.numpy()), "table": Array(model.table.numpy())})


def from_record(record: ArrayRecord) -> GlobalModel:
    """The inverse of :func:`to_record`; copies."""
    encoder, table = (torch.from_numpy(record[name].numpy().copy()) for name in ("encoder", "table"))
    return GlobalModel(encoder, table)


def fitting(given: GlobalModel, expected: GlobalModel) -> GlobalModel:
    """``given``, once it has the shapes and dtypes of ``expected``. Raises ConfigError."""
    for name in ("encoder", "table"):
        one, other = getattr(given, name), getattr(expected, name)
        if one.shape != other.shape or one.dtype != other.dtype:
            raise ConfigError(
                f"initial {name}: {one.dtype} {list(one.shape)}; expected {other.dtype} {list(other.shape)}"
            )
    return given
