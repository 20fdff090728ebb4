"""Wait until enough nodes are there, and give up with a reason."""

from __future__ import annotations

import time
from logging import INFO, getLogger

from flwr.serverapp import Grid

from common.errors import RunError
from common.logs import event
from server.nodes.roster import ENROL_S, Roster

log = getLogger("flwr").log


def wait_for_nodes(grid: Grid, roster: Roster, round_: int, wanted: int, limit_s: float) -> None:
    """Return once ``wanted`` nodes and all trusted ones have enrolled, saying meanwhile how many have.

    Raises RunError after ``limit_s`` seconds.
    """
    end, told = time.monotonic() + limit_s, -1
    while True:
        roster.wake()
        roster.refresh(grid, round_, min(ENROL_S, max(1.0, limit_s)))
        here = len(roster.nodes)
        absent = sorted(roster.trusted - set(roster.roots))
        if here >= wanted and not absent:
            return
        if here != told:
            news = event("waiting", {"nodes": here, "wanted": wanted}, round_=round_)
            log(INFO, "waiting for nodes: %d of %d", here, wanted, extra=news)
            told = here
        if time.monotonic() >= end:
            if absent:
                raise RunError(f"no trusted node {absent[0]} after {limit_s:g} s; see strategy.trusted_nodes")
            text = f"{here} of {wanted} nodes after {limit_s:g} s; see strategy.wait_nodes, wait_s"
            raise RunError(text + roster.refusals.ending())
        time.sleep(0.2)
