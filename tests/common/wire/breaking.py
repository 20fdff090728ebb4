"""One way each to break a valid message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from flwr.app import RecordDict

from common.errors import WireError
from common.wire.arrays import pack

Change = Callable[[RecordDict], None]


def refused(field: str, reason: str, call: Callable[[], object]) -> None:
    with pytest.raises(WireError) as caught:
        call()
    assert (caught.value.field, caught.value.reason) == (field, reason), str(caught.value)
    assert len(str(caught.value)) < 500


def with_array(name: str, **changes: Any) -> Change:
    def change(record: RecordDict) -> None:
        array = record.array_records["arrays"][name]
        for key, value in changes.items():
            setattr(array, key, value)

    return change


def with_values(name: str, values: torch.Tensor, dtype: str) -> Change:
    def change(record: RecordDict) -> None:
        record.array_records["arrays"][name] = pack(values, dtype)

    return change


def with_meta(name: str, value: Any) -> Change:
    def change(record: RecordDict) -> None:
        record.config_records["meta"][name] = value

    return change


def with_record(name: str, value: Any) -> Change:
    def change(record: RecordDict) -> None:
        del record[name]
        record[name] = value

    return change


def without(record_name: str, key: str | None = None) -> Change:
    def change(record: RecordDict) -> None:
        if key is None:
            del record[record_name]
        else:
            del record[record_name][key]

    return change
