"""One round under a profiler: which modules an update passes through from the wire to the model."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from flwr.app import Message

from common.updates import DeviceUpdates
from common.wire.replies import Reply
from emulation.local_grid import LocalGrid
from server.round.verdicts import Admitted
from server.strategy import RobustStrategy
from tests.server.federation import ITEMS, client_app, config, node
from tests.test_rooms import drawings

ROOT = Path(__file__).parents[2]
ROOMS = ("server", "transport", "emulation")
PLUGINS = "server.aggregators"
BESIDE = {"server.records.traffic", "server.round.verdicts"}
"""Bytes are counted and the audit is written once the model is made: nothing of that goes into it."""


def carries(value: object) -> bool:
    """Whether a value is, or holds, what a device sent."""
    match value:
        case Message():
            return value.metadata.message_type == "train" and bool(value.metadata.reply_to_message_id)
        case Reply() | DeviceUpdates() | Admitted():
            return True
        case list() | tuple():
            return any(carries(one) for one in value)
        case _:
            return False


@cache
def place(file: str) -> str:
    """The module of a file, those of the rule as one; empty outside the project's rooms."""
    path = Path(file)
    if not path.is_relative_to(ROOT) or path.suffix != ".py":
        return ""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if not name.startswith(ROOMS):
        return ""
    return PLUGINS if name.startswith(PLUGINS) else name


class Trail:
    """The modules in the order in which an update first reached them, and who called whom with one."""

    def __init__(self) -> None:
        self.modules: list[str] = []
        self.calls: set[tuple[str, str]] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call":
            return
        here = place(frame.f_code.co_filename)
        if not here or here in BESIDE:
            return
        code = frame.f_code
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if not any(carries(frame.f_locals.get(name)) for name in names):
            return
        above = frame.f_back
        while above is not None and not place(above.f_code.co_filename):
            above = above.f_back
        caller = place(above.f_code.co_filename) if above else ""
        if "emulation" in (here.split(".")[0], caller.split(".")[0]):  # the other side of the wire
            return
        if here not in self.modules:
            self.modules.append(here)
        if caller not in ("", here):
            self.calls.add((caller, here))


@pytest.fixture(scope="module")
def trail() -> Trail:
    settings = config("strategy.aggregator=sieve", "strategy.constraints=[exposure_cap, popularity_cap]")
    one, grid = RobustStrategy(settings, ITEMS), LocalGrid(client_app, [node("0/2"), node("1/2")])
    one.wait_for_nodes(grid)
    found = Trail()
    sys.setprofile(found)
    try:
        metrics = one.round(grid, 1)
    finally:
        sys.setprofile(None)
    assert float(metrics["admitted"]) > 0  # type: ignore[arg-type]
    return found


WAY = [
    "transport.exchange",
    "server.strategy",
    "server.training",
    "server.round.admission",
    "server.round.pipeline",
]


def test_an_update_passes_through_five_modules(trail: Trail) -> None:
    assert [name for name in trail.modules if name in WAY] == WAY
    readers = {b for _, b in drawings()[2]} - set(WAY)
    assert set(trail.modules) - set(WAY) == readers


def test_it_never_goes_back(trail: Trail) -> None:
    """Who is called with an update comes later on its way than who calls; a reader hands it to nobody."""
    rank = {name: WAY.index(name) if name in WAY else len(WAY) for name in trail.modules}
    assert trail.calls
    assert not [(a, b) for a, b in trail.calls if rank[a] >= rank[b]]


def test_the_drawing_shows_every_call(trail: Trail) -> None:
    """The strategy takes it from the exchange, has it admitted and, admitted, gives it to the pipeline."""
    expected = {(a, b) for a, b in drawings()[2] if b not in WAY}
    expected |= {("server.strategy", "server.training"), ("server.training", "server.round.admission")}
    expected |= {("server.strategy", "server.round.pipeline")}
    assert trail.calls == expected
