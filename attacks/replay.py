"""Replay: the first reply of a run, again in every round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from flwr.app import ConfigRecord, RecordDict

from attacks.base import Attack, View
from attacks.forging import opened, sealed
from common.wire.arrays import as_record

MEMORY = ("replay.arrays", "replay.meta")


@dataclass(frozen=True)
class Replay(Attack):
    """The first reply is honest and kept in the node's memory; from then on it is sent as it is.

    It names its own round, so it is refused as ``stale``.
    """

    kind: ClassVar[str] = "protocol"
    knowledge: ClassVar[str] = "nothing"

    def tamper(self, reply: RecordDict, view: View) -> RecordDict:
        arrays, meta = MEMORY
        if arrays in view.memory:
            kept = view.memory
            return sealed(dict(kept.array_records[arrays]), dict(kept.config_records[meta]))
        first_arrays, first_meta = opened(reply)
        view.memory[arrays], view.memory[meta] = as_record(first_arrays), ConfigRecord(first_meta)
        return reply
