"""Nodes that only enrol, for tests of the roster."""

from __future__ import annotations

from collections.abc import Callable

import torch
from flwr.app import Context, Message
from flwr.common.constant import ErrorCode

from common.tasks import Enrolment
from common.wire import encode_enrolment
from emulation.local_grid import LocalGrid
from server.nodes.roster import Roster
from transport.messages import failure

Fleets = dict[int, list[int]]


def enrolment(devices: list[int]) -> Enrolment:
    numbers = torch.tensor(devices, dtype=torch.int64)
    return Enrolment(numbers, torch.tensor([d % 50 for d in devices], dtype=torch.int32))


def grid(fleets: Fleets, broken: Callable[[int], bool] = lambda _: False) -> LocalGrid:
    """Node i + 1 stands for ``fleets[i]``; a broken node answers with an error."""

    def app(message: Message, context: Context) -> Message:
        if broken(context.node_id):
            return failure(message, "asleep", ErrorCode.UNKNOWN)
        return Message(encode_enrolment(enrolment(fleets[context.node_id])), reply_to=message)

    return LocalGrid(app, [{} for _ in fleets])


def enrolled(fleets: Fleets, quota: int = 100) -> Roster:
    roster = Roster(quota)
    roster.refresh(grid(fleets), 1)
    return roster


def devices(roster: Roster, round_: int = 1) -> list[tuple[int, int]]:
    """(device number, node) of all that may be drawn, in the order of the draw."""
    numbers, place, nodes = roster.pool.drawable(round_)
    return [(int(d), nodes[int(k)]) for d, k in zip(numbers, place, strict=True)]
