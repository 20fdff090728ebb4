"""Popular item mining: whose row moves most is popular."""

from __future__ import annotations

from typing import cast

from flwr.app import ArrayRecord
from torch import Tensor

from attacks.base import View
from common.wire.arrays import as_record, pack, unpack

MEMORY = "mined"
"""Key of a record in the node's memory: the table received before and the way of each row so far. Each node
keeps its own: the malicious node of an emulation stands for all its devices and sees every round, a phone
only the rounds that draw it."""


def moved(view: View) -> Tensor:
    """Σ over pairs of models received one after the other of ‖e_i′ − e_i‖, float32 [N + 1].

    Zeros the first time. Remembers the table and the sum for the next time.
    """
    table = view.task.model.embeddings  # [N + 1, d]
    way = table.new_zeros(len(table))  # [N + 1]
    if MEMORY in view.memory:
        record = cast(ArrayRecord, view.memory[MEMORY])
        where = table.device
        before = unpack(record["table"], "table", "float32", tuple(table.shape), where)
        way = unpack(record["way"], "way", "float32", (len(table),), where) + (table - before).norm(dim=1)
    view.memory[MEMORY] = as_record({"table": pack(table, "float32"), "way": pack(way, "float32")})
    return way


def mine(view: View, count: int) -> Tensor:
    """The ``count`` items whose rows moved most so far, most first: int64 [≤ count].

    Targets are left out, since the attack itself moves them, and so is what stood still; empty the first
    time. PIECK (arXiv 2502.12958) sums over a few rounds and then fixes the items. Here a round trains no
    more than its slice, so the sum goes on for as long as the attack lasts.
    """
    way = moved(view)
    way[0] = 0.0
    way[list(view.targets)] = 0.0
    order = way.argsort(descending=True, stable=True)[:count]
    return order[way[order] > 0]
