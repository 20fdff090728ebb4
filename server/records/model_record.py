"""The global model as a Flower ArrayRecord, for Flower's own interfaces."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import torch
from flwr.app import ArrayRecord
from torch import Tensor

from common.codes import Codes
from common.device import CPU
from common.errors import ConfigError
from common.tasks import GlobalModel
from common.wire.arrays import HeldArray, as_record
from server.round.state import ServerState


class NumpyArray(HeldArray):
    """A held tensor whose bytes are those of a ``.npy`` file, as Flower's own tools read an Array."""

    storage = "numpy.ndarray"

    def written(self, values: np.ndarray) -> bytes:
        buffer = BytesIO()
        np.save(buffer, values, allow_pickle=False)
        return buffer.getvalue()


def to_record(model: GlobalModel) -> ArrayRecord:
    """Two arrays: ``encoder`` float32 [P] and ``table`` float32 [R + 1, d]; copies."""
    arrays = {"encoder": model.encoder.clone(), "table": model.table.clone()}
    return as_record({name: NumpyArray(t, str(t.dtype).removeprefix("torch.")) for name, t in arrays.items()})


def from_record(record: ArrayRecord, device: torch.device = CPU, codes: Codes | None = None) -> GlobalModel:
    """The inverse of :func:`to_record`, on ``device``; an array that holds its tensor gives it as it is.

    codes: the run's; a record has the rows alone.
    """

    def read(name: str) -> Tensor:
        array = record[name]
        return (array.held if isinstance(array, HeldArray) else torch.from_numpy(array.numpy())).to(device)

    return GlobalModel(read("encoder"), read("table"), codes)


def started_from(record: ArrayRecord, state: ServerState, device: torch.device) -> ServerState:
    """``state`` of a run that has not begun, with the model of ``record``. Raises ConfigError."""
    if state.round:
        raise ConfigError(f"initial_arrays: given after round {state.round} of a run")
    given = from_record(record, device, state.model.codes)
    return replace(state, model=fitting(given, state.model))


def fitting(given: GlobalModel, expected: GlobalModel) -> GlobalModel:
    """``given``, once it has the shapes and dtypes of ``expected``. Raises ConfigError."""
    for name in ("encoder", "table"):
        one, other = getattr(given, name), getattr(expected, name)
        if one.shape != other.shape or one.dtype != other.dtype:
            raise ConfigError(
                f"initial {name}: {one.dtype} {list(one.shape)}; expected {other.dtype} {list(other.shape)}"
            )
    return given
