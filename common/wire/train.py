"""Training tasks on the wire, and the model in them: ``train`` messages, server to node."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, cast

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from torch import Tensor

from common.codes import ONE_SLICE, OWN_ROWS, codes_of
from common.config import ClientConfig, ModelConfig, TrainConfig
from common.device import CPU
from common.tasks import GlobalModel, TrainTask
from common.wire.arrays import as_record, ascending, finite, pack, unique, within
from common.wire.message import Received, seal
from common.wire.reasons import Reason, fail, show

MAX_TASK_BYTES = 1 << 32
MAX_ITEMS = 2**31 - 2
"""Item numbers are int32."""
_ANY = range(2**31)


def pack_model(model: GlobalModel) -> dict[str, Array | None]:
    """The arrays of a model; of codes the size of the catalogue, from which all else follows."""
    size = None if model.codes is None else pack(torch.tensor([model.num_items]), "int64")
    return {
        "encoder": pack(model.encoder, "float32"),
        "table": pack(model.table, "float32"),
        "num_items": size,
    }


def model_arrays(config: ModelConfig) -> tuple[str, ...]:
    """Names of what :func:`pack_model` gives."""
    return ("encoder", "table", *(("num_items",) if config.code_books else ()))


def read_model(message: Received, config: ModelConfig) -> GlobalModel:
    """encoder [P], table [R + 1, dim], all finite, of at least one item. Raises WireError.

    R is the number of items or, with codes, of all code rows.
    """
    encoder = message.array("encoder", "float32", (_ANY,))
    codes, rows = None, range(1, MAX_ITEMS + 1)
    if config.code_books:
        size = message.array("num_items", "int64", (1,), CPU)
        within("num_items", size, 1, min(MAX_ITEMS, config.code_rows**config.code_books))
        codes = codes_of(config, int(size))
        rows = range(config.code_books * config.code_rows, config.code_books * config.code_rows + 1)
    table = message.array("table", "float32", (range(rows.start + 1, rows.stop + 1), config.dim))
    finite("encoder", encoder)
    finite("table", table)
    return GlobalModel(encoder=encoder, table=table, codes=codes)


def choice(message: Received, name: str, valid: tuple[str, ...]) -> str:
    """A word of ``meta`` that must be one of ``valid``."""
    if (value := message.text(name)) not in valid:
        fail(f"meta.{name}", Reason.RANGE, f"expected one of {', '.join(valid)}")
    return value


def read_vector(
    message: Received, name: str, dtype: str, limit: int = 2**31 - 1, device: torch.device | None = None
) -> Tensor:
    """A vector of any length up to ``limit``."""
    return message.array(name, dtype, (range(limit + 1),), device)


LEAST_LOG_Q = -60.0
"""Less likely than 1e-26 is no item of any catalogue; it stands in a loss, which it must not overflow."""
SECTIONS = {"model_config": ModelConfig, "train_config": TrainConfig, "client_config": ClientConfig}


def encode_train_tasks(task: TrainTask, asked: Sequence[Tensor]) -> list[RecordDict]:
    """A message for each group of devices int64 [m]; the model and all else is packed once for all."""
    shared = encode_train_task(task)
    # Not by ``shared.array_records``: that view and the record hold each other, and with them a model, until
    # Python looks for such rings.
    meta, arrays = shared["meta"], shared["arrays"]
    assert isinstance(meta, ConfigRecord)
    assert isinstance(arrays, ArrayRecord)
    return [
        RecordDict(
            {
                "meta": ConfigRecord(dict(meta)),
                "arrays": as_record({**arrays, "devices": pack(devices, "int64")}),
            }
        )
        for devices in asked
    ]


def encode_train_task(task: TrainTask) -> RecordDict:
    """The message; configuration sections travel as JSON text."""
    meta: dict[str, int | str] = {
        "run": task.run,
        "round": task.round,
        "nonce": task.nonce,
        "wire_dtype": task.wire_dtype,
        **{name: getattr(task, name).model_dump_json() for name in SECTIONS},
    }
    arrays = {
        **pack_model(task.model),
        "items": pack(task.items, "int32"),
        "log_q": pack(task.log_q, "float32"),
        "devices": pack(task.devices, "int64"),
    }
    return seal("train", meta, arrays)


def decode_train_task(
    record: RecordDict, max_bytes: int = MAX_TASK_BYTES, device: torch.device = CPU
) -> TrainTask:
    """The task, its items in the catalogue, -60 ≤ log_q ≤ 0, devices ≥ 0, none twice. Raises WireError.

    Model, items and log_q on ``device``; the devices' numbers, which name histories, always on the CPU.
    """
    names = ("run", "round", "nonce", "wire_dtype", *SECTIONS)
    message = Received(record, "train", names, max_bytes, device)
    model_config = message.section("model_config", ModelConfig)
    message.only(*model_arrays(model_config), "items", "log_q", "devices")
    model = read_model(message, model_config)
    train_config = message.section("train_config", TrainConfig)
    items = read_vector(message, "items", "int32")
    within("items", items, 1, model.num_items)
    _check_slices(items, train_config.slices)
    log_q = message.array("log_q", "float32", (len(items),))
    finite("log_q", log_q)
    if bool((log_q > 1e-4).any()):  # a probability is at most 1, up to rounding
        fail("log_q", Reason.RANGE, "the log of a probability is positive")
    if bool((log_q < LEAST_LOG_Q).any()):
        fail("log_q", Reason.RANGE, f"expected at least {LEAST_LOG_Q:g}, found {float(log_q.min()):g}")
    nonce = message.text("nonce")
    if not re.fullmatch(r"[0-9a-f]{1,64}", nonce):
        fail("meta.nonce", Reason.RANGE, f"expected 1 to 64 hexadecimal digits, found {show(nonce)}")
    devices = read_vector(message, "devices", "int64", device=CPU)
    within("devices", devices, 0)
    unique("devices", devices)
    if model.codes is not None and train_config.negatives == "device":
        fail("meta.train_config", Reason.RANGE, OWN_ROWS)
    if model.codes is not None and train_config.slices > 1:
        fail("meta.train_config", Reason.RANGE, ONE_SLICE)
    return TrainTask(
        run=message.text("run"),
        round=message.integer("round", 0),
        nonce=nonce,
        model=model,
        items=items,
        log_q=log_q,
        devices=devices,
        model_config=model_config,
        train_config=train_config,
        client_config=message.section("client_config", ClientConfig),
        wire_dtype=cast(Literal["float16", "float32"], choice(message, "wire_dtype", ("float16", "float32"))),
    )


def _check_slices(items: Tensor, count: int) -> None:
    """``count`` slices of one size, each ascending, no item in two of them."""
    if len(items) % count:
        fail("items", Reason.SHAPE, f"{len(items)} items are not {count} slices of one size")
    for part in items.view(count, -1):
        ascending("items", part)
    if count > 1:
        unique("items", items)
