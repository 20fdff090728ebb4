"""Device updates on the wire: ``updates`` messages, node to server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from flwr.app import RecordDict
from torch import Tensor

from common.device import CPU
from common.updates import DeviceUpdates, UpdateSpec
from common.wire.arrays import ascending, check, pack, unique, within
from common.wire.message import Received, seal
from common.wire.reasons import Reason, fail, show
from common.wire.scaled import decode_scaled, encode_scaled


def encode_updates(
    updates: DeviceUpdates, run: str, round_: int, dtype: Literal["float16", "float32"] = "float16"
) -> RecordDict:
    """The message; float16 carries one float32 scale per device and block.

    Values are not judged here: what a malicious device computed travels as it is.
    """
    items, number = updates.items, updates.slice
    if number is not None:  # of the slices only those that a device took
        items = items[torch.unique(number).to(items.device)].flatten()
    encoder, encoder_scale = encode_scaled(updates.encoder, dtype)
    rows, rows_scale = encode_scaled(updates.rows, dtype)
    arrays = {
        "device": pack(updates.device, "int64"),
        "history": pack(updates.history, "int32"),
        "items": pack(items, "int32"),
        "slice": None if number is None else pack(number, "uint8"),
        "idle": pack(updates.device[:0] if updates.idle is None else updates.idle, "int64"),
        "touched": None if updates.touched is None else pack(updates.touched, "uint8"),
        "encoder": encoder,
        "encoder_scale": encoder_scale,
        "rows": rows,
        "rows_scale": rows_scale,
    }
    return seal("updates", {"run": run, "round": round_, "dtype": dtype}, arrays)


def decode_updates(
    record: RecordDict,
    expect: UpdateSpec,
    device: torch.device = CPU,
    out: Mapping[str, Tensor] | None = None,
) -> DeviceUpdates:
    """Updates of a subset of the devices asked for, none twice; possibly none at all; all on ``device``.

    Checks structure only: values that are not finite and history claims out of range are one device's
    fault and left to admission. out: memory on ``device`` for ``encoder`` [m, P] and ``rows`` [m, K, d], with
    m at least the number of devices asked. Raises WireError.
    """
    message = Received(record, "updates", ("run", "round", "dtype"), expect.limit, device)
    message.of(expect.run, expect.round)
    dtype = message.text("dtype")
    if dtype not in ("float16", "float32"):
        fail("meta.dtype", Reason.DTYPE, f"expected float16 or float32, found {show(dtype)}")
    own_rows = expect.negatives == "device"
    scales = ("encoder_scale", "rows_scale") if dtype == "float16" else ()
    several = expect.items.dim() == 2
    more = (*scales, *(("touched",) if own_rows else ()), *(("slice",) if several else ()))
    message.only("device", "idle", "history", "items", "encoder", "rows", *more)
    numbers = message.array("device", "int64", (range(len(expect.devices) + 1),), CPU)  # [n]
    idle = message.array("idle", "int64", (range(len(expect.devices) + 1),), CPU)  # [j]
    unique("device", torch.cat([numbers, idle]))
    for name, claimed in (("device", numbers), ("idle", idle)):
        unknown = claimed[~torch.isin(claimed, expect.devices)]
        if len(unknown):
            fail(name, Reason.UNKNOWN_DEVICE, f"{int(unknown[0])} was not asked")
    number = _slice(message, expect, len(numbers)) if several else None
    items = _items(message, expect) if number is None else expect.items.to(device)
    n, k = len(numbers), items.shape[-1]
    shapes = {"encoder": (n, expect.num_parameters), "rows": (n, k, expect.dim)}
    for name, shape in shapes.items():  # before the first large allocation
        check(message.raw(name), name, dtype, shape)
    blocks = {
        name: decode_scaled(
            message.raw(name),
            message.raw(f"{name}_scale") if scales else None,
            name,
            shape,
            device,
            None if out is None else out[name],
        )
        for name, shape in shapes.items()
    }
    touched = message.array("touched", "uint8", (n, k)) if own_rows else None
    if touched is not None:
        within("touched", touched, 0, 1)
        if n and (most := int(touched.sum(dim=1, dtype=torch.int64).max())) > expect.max_touched:
            fail("touched", Reason.RANGE, f"at most {expect.max_touched} rows a device, found {most}")
    return DeviceUpdates(
        encoder=blocks["encoder"],
        rows=blocks["rows"],
        items=items,
        history=message.array("history", "int32", (n,)),
        device=numbers.to(device),
        touched=None if touched is None else touched.bool(),
        idle=idle,
        slice=number,
    )


def _slice(message: Received, expect: UpdateSpec, n: int) -> Tensor:
    """The slice of each device, int64 [n], once the items sent are those of the slices that are named."""
    count = len(expect.items)
    number = message.array("slice", "uint8", (n,), CPU).long()
    if n and (highest := int(number.max())) >= count:
        fail(
            "slice", Reason.RANGE, f"{highest} is none of the {count} slices of this round, 0 to {count - 1}"
        )
    named = expect.items[torch.unique(number).to(expect.items.device)].flatten()
    items = message.array("items", "int32", (len(named),), expect.items.device)
    if not torch.equal(items, named):
        fail("items", Reason.UNEXPECTED, "not the items of the slices that its devices name")
    return number


def _items(message: Received, expect: UpdateSpec) -> Tensor:
    if expect.negatives == "device":
        items = message.array("items", "int32", (range(expect.num_items + 1),))  # [K]
        within("items", items, 1, expect.num_items)
        ascending("items", items)
        return items
    items = message.array("items", "int32", (len(expect.items),))
    if not torch.equal(items, expect.items.to(items)):
        within("items", items, 1, expect.num_items)
        ascending("items", items)
        fail("items", Reason.UNEXPECTED, "not the slice of this round")
    return items
