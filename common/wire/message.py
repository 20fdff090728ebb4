"""The envelope: every message is one ConfigRecord ``meta`` and one ArrayRecord ``arrays``, nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from pydantic import BaseModel, ValidationError
from torch import Tensor

from common.device import CPU
from common.explain import problems
from common.printable import printable
from common.wire.arrays import Shape, as_record, num_bytes, unpack
from common.wire.reasons import Reason, fail, show
from common.wire.salt import SALT

VERSION = 2
MAX_TEXT = 1 << 16
"""Characters of the longest text in ``meta``."""
M = TypeVar("M", bound=BaseModel)


def seal(kind: str, meta: Mapping[str, int | str], arrays: Mapping[str, Array | None]) -> RecordDict:
    """A message of this kind; arrays that are None are left out. There must be some: each has its salt.

    ``unique`` of ``meta`` is the salt of the settings (common/wire/salt.py).
    """
    present = {name: array for name, array in arrays.items() if array is not None}
    if not present:
        raise ValueError(f"a {kind} message without an array has parts that anybody can work out")
    header: dict[str, int | str] = {"kind": kind, "version": VERSION, "unique": secrets.token_hex(SALT)}
    return RecordDict({"meta": ConfigRecord({**meta, **header}), "arrays": as_record(present)})


class Received:
    """A message whose envelope is right; its parts are checked as they are read.

    device: where its arrays go. Raises WireError where the records, the keys of ``meta``, the kind or the
    version differ, or where the arrays hold more than ``max_bytes`` bytes.
    """

    def __init__(
        self,
        record: RecordDict,
        kind: str,
        meta: Iterable[str],
        max_bytes: int,
        device: torch.device = CPU,
    ) -> None:
        self.device = device
        if not isinstance(record, RecordDict):
            fail("message", Reason.TYPE, f"expected a RecordDict, found {type(record).__name__}")
        _exact("message", record, ("meta", "arrays"))
        config, arrays = record["meta"], record["arrays"]
        if not isinstance(config, ConfigRecord):
            fail("meta", Reason.TYPE, f"expected a ConfigRecord, found {type(config).__name__}")
        if not isinstance(arrays, ArrayRecord):
            fail("arrays", Reason.TYPE, f"expected an ArrayRecord, found {type(arrays).__name__}")
        self._meta, self._arrays = config, arrays
        if "version" in config and self.integer("version", 0) != VERSION:
            fail("meta.version", Reason.VERSION, f"expected {VERSION}, found {show(config['version'])}")
        _exact("meta", config, ("kind", "version", "unique", *meta))
        if self.text("kind") != kind:
            fail("meta.kind", Reason.UNEXPECTED, f"expected {kind!r}, found {show(config['kind'])}")
        self.text("unique")
        size = sum(map(num_bytes, arrays.values()))
        if size > max_bytes:
            fail("arrays", Reason.OVERSIZE, f"{size} bytes where at most {max_bytes} are allowed")

    def of(self, run: str, round_: int) -> None:
        """The message must belong to this run and round."""
        if self.text("run") != run:
            fail("meta.run", Reason.FOREIGN, f"expected run {show(run)}, found {show(self._meta['run'])}")
        if (found := self.integer("round", 0)) != round_:
            fail("meta.round", Reason.STALE, f"expected round {round_}, found {found}")

    def integer(self, name: str, low: int, high: int = 2**63 - 1) -> int:
        value = self._meta[name]
        if type(value) is not int:  # bool is an int in Python, and not one here
            fail(f"meta.{name}", Reason.TYPE, f"expected an integer, found {type(value).__name__}")
        if not low <= value <= high:
            fail(f"meta.{name}", Reason.RANGE, f"expected {low}..{high}, found {show(value)}")
        return value

    def text(self, name: str) -> str:
        value = self._meta[name]
        if type(value) is not str:
            fail(f"meta.{name}", Reason.TYPE, f"expected text, found {type(value).__name__}")
        if len(value) > MAX_TEXT:
            fail(f"meta.{name}", Reason.OVERSIZE, f"{len(value)} characters, at most {MAX_TEXT} allowed")
        return value

    def section(self, name: str, model: type[M]) -> M:
        """Settings sent as JSON text, read without coercion."""
        text = self.text(name)
        try:
            return model.model_validate_json(text.encode(), strict=True)
        except ValidationError as error:
            fail(f"meta.{name}", Reason.TYPE, printable(problems(model, error, shown=show)[0]))
        except UnicodeEncodeError:
            fail(f"meta.{name}", Reason.TYPE, "expected text that UTF-8 can hold")

    def only(self, *names: str) -> None:
        """The arrays must be exactly these."""
        _exact("arrays", self._arrays, names)

    def raw(self, name: str) -> Array:
        return self._arrays[name]

    def array(self, name: str, dtype: str, shape: Shape, device: torch.device | None = None) -> Tensor:
        """The array as a tensor on ``device``: where the message's reader has its tensors, by default."""
        return unpack(self._arrays[name], name, dtype, shape, device or self.device)


def _exact(field: str, found: Mapping[str, object], expected: Iterable[str]) -> None:
    names = tuple(expected)
    for name in names:
        if name not in found:
            fail(f"{field}.{name}", Reason.MISSING, "this part is not there")
    extra = [name for name in found if name not in names]
    if extra:
        fail(field, Reason.UNEXPECTED, f"{len(extra)} unknown parts, such as {show(extra[0])}")
