"""Training tasks on the wire: ``train`` messages, server to node."""

from __future__ import annotations

import re
from typing import Literal, cast

from flwr.app import RecordDict

from common.config import ClientConfig, ModelConfig, TrainConfig
from common.tasks import TrainTask
from common.wire.arrays import pack
from common.wire.message import Received, seal
from common.wire.model import MAX_TASK_BYTES, choice, pack_model, read_model, read_vector
from common.wire.numbers import ascending, finite, unique, within
from common.wire.reasons import Reason, fail, show

LEAST_LOG_Q = -60.0
"""Less likely than 1e-26 is no item of any catalogue; it stands in a loss, which it must not overflow."""
SECTIONS = {"model_config": ModelConfig, "train_config": TrainConfig, "client_config": ClientConfig}


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


def decode_train_task(record: RecordDict, max_bytes: int = MAX_TASK_BYTES) -> TrainTask:
    """The task, its items in the catalogue, -60 ≤ log_q ≤ 0, devices ≥ 0, none twice. Raises WireError."""
    names = ("run", "round", "nonce", "wire_dtype", *SECTIONS)
    message = Received(record, "train", names, max_bytes)
    message.only("encoder", "table", "items", "log_q", "devices")
    model_config = message.section("model_config", ModelConfig)
    model = read_model(message, model_config.dim)
    items = read_vector(message, "items", "int32")
    within("items", items, 1, len(model.table) - 1)
    ascending("items", items)
    log_q = message.array("log_q", "float32", (len(items),))
    finite("log_q", log_q)
    if bool((log_q > 1e-4).any()):  # a probability is at most 1, up to rounding
        fail("log_q", Reason.RANGE, "the log of a probability is positive")
    if bool((log_q < LEAST_LOG_Q).any()):
        fail("log_q", Reason.RANGE, f"expected at least {LEAST_LOG_Q:g}, found {float(log_q.min()):g}")
    nonce = message.text("nonce")
    if not re.fullmatch(r"[0-9a-f]{1,64}", nonce):
        fail("meta.nonce", Reason.RANGE, f"expected 1 to 64 hexadecimal digits, found {show(nonce)}")
    devices = read_vector(message, "devices", "int64")
    within("devices", devices, 0)
    unique("devices", devices)
    return TrainTask(
        run=message.text("run"),
        round=message.integer("round", 0),
        nonce=nonce,
        model=model,
        items=items,
        log_q=log_q,
        devices=devices,
        model_config=model_config,
        train_config=message.section("train_config", TrainConfig),
        client_config=message.section("client_config", ClientConfig),
        wire_dtype=cast(Literal["float16", "float32"], choice(message, "wire_dtype", ("float16", "float32"))),
    )
