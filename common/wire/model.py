"""The global model inside a task: always float32, so that every transport trains from the same values."""

from __future__ import annotations

from flwr.app import Array
from torch import Tensor

from common.tasks import GlobalModel
from common.wire.arrays import pack
from common.wire.message import Received
from common.wire.numbers import finite
from common.wire.reasons import Reason, fail

MAX_TASK_BYTES = 1 << 32
MAX_ITEMS = 2**31 - 2
"""Item numbers are int32."""
_ANY = range(2**31)


def pack_model(model: GlobalModel) -> dict[str, Array | None]:
    """The two arrays of a model."""
    return {"encoder": pack(model.encoder, "float32"), "table": pack(model.table, "float32")}


def read_model(message: Received, dim: int) -> GlobalModel:
    """encoder [P], table [N + 1, dim] with at least one item, all finite. Raises WireError."""
    encoder = message.array("encoder", "float32", (_ANY,))
    table = message.array("table", "float32", (range(2, MAX_ITEMS + 2), dim))
    finite("encoder", encoder)
    finite("table", table)
    return GlobalModel(encoder=encoder, table=table)


def choice(message: Received, name: str, valid: tuple[str, ...]) -> str:
    """A word of ``meta`` that must be one of ``valid``."""
    if (value := message.text(name)) not in valid:
        fail(f"meta.{name}", Reason.RANGE, f"expected one of {', '.join(valid)}")
    return value


def read_vector(message: Received, name: str, dtype: str, limit: int = 2**31 - 1) -> Tensor:
    """A vector of any length up to ``limit``."""
    return message.array(name, dtype, (range(limit + 1),))
