"""``fedsieve leaderboard``: what is done and open, computing what is open, and the page."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rich.console import Console

from common.device import resolve
from common.errors import ConfigError, RunError
from common.machine import available_mib, cores
from common.printable import counted
from experiments.compare.command import MARGIN, Planned
from experiments.leaderboard import selection
from experiments.leaderboard.cells import Board, plan
from experiments.leaderboard.claims import Claims
from experiments.leaderboard.protocol import Protocol
from experiments.leaderboard.work import fill, open_cells
from experiments.main_module import needed_main
from experiments.pool import Pool
from experiments.report.tables import Column, Table, Value
from experiments.units import seconds_text
from server.records.holding import FolderInUse

REFRESH_S = 60.0
"""Seconds between two writings of the page while cells are computed."""
GUESS_MIN = 5.0
"""Minutes of a cell on a log that neither has ended cells nor a guess in the protocol."""


@dataclass(frozen=True)
class Options:
    """Where, and how much of this machine; a machine silent for ``patience_s`` loses its cells."""

    out: Path
    workers: int = 0
    memory_gb: float = 0.0
    device: str = ""
    patience_s: float = 300.0


def opened(
    protocol: Protocol, only: Sequence[str], options: Options, computing: bool = True
) -> tuple[Board, list[Planned]]:
    """The board, and the cells of it for this machine. Raises ConfigError for a wrong choice or device."""
    chosen = selection.parse(only)
    if options.device:
        grid = protocol.grid
        grid = grid.model_copy(update={"set": {**grid.set, "device": options.device}})
        protocol = Protocol(protocol.head, grid, protocol.wanted, protocol.added)
    planned = plan(protocol, chosen if computing else None)
    selection.check(chosen, planned.labels)
    for name in {one.config.device for one in planned.cells}:
        resolve(name, "--device" if options.device else "device")
    return Board(options.out, planned), [one for one in planned.cells if selection.fits(chosen, one.labels)]


def compute(
    protocol: Protocol, board: Board, mine: Sequence[Planned], options: Options, console: Console
) -> int:
    """Compute what is open of ``mine``, beside whoever else does; returns how many cells failed here."""
    from experiments.leaderboard.page import measured, write_page

    memory_mb = options.memory_gb * 1024 or MARGIN * available_mib()
    pool = Pool(options.workers or cores(), memory_mb, main=needed_main())
    missing = len(open_cells(board, mine))
    console.print(
        f"{protocol.title}: {len(mine)} of {counted(len(board.plan.cells), 'cell')} chosen, "
        f"{missing} of them open; {pool.workers} at a time",
        highlight=False,
    )
    written = time.monotonic()

    def refresh() -> None:
        nonlocal written
        if time.monotonic() - written > REFRESH_S:
            # Another machine writes it now, or has added a rule: the page is theirs meanwhile
            with suppress(ConfigError, FolderInUse):
                write_page(board, measured(protocol, board, board.states(claims.held())), patience_s=0)
            written = time.monotonic()

    def left() -> float:
        return seconds_left(protocol, board, mine) / pool.workers

    with Claims(options.out / "claims", options.patience_s) as claims:
        try:
            return fill(board, mine, claims, pool, protocol.grid.keep == "results", console, left, refresh)
        except KeyboardInterrupt:
            missing = len(open_cells(board, mine))
            told = f"{missing} of {counted(len(mine), 'cell')} {'is' if missing == 1 else 'are'} open"
            raise KeyboardInterrupt(f"{told} in {options.out}; the same command goes on with them") from None


def seconds_left(protocol: Protocol, board: Board, mine: Sequence[Planned]) -> float:
    """Seconds of one core for the open cells: by ended ones of the log and rule, of the log, or a guess.

    Honest rounds that cells share count once.
    """
    known: dict[tuple[str, ...], list[float]] = {}
    done = board.done()
    for one in board.plan.cells:
        if one.key in done and (row := board.row(one.key)) is not None:
            data, rule = str(one.labels["data"]), str(one.labels["aggregator"])
            for group in ((data, rule), (data,)):
                known.setdefault(group, []).append(float(row["seconds"]))
    means = {group: fmean(found) for group, found in known.items()}
    total, warm_ups = 0.0, set()
    for one in mine:
        if one.key in done:
            continue
        data, rule = str(one.labels["data"]), str(one.labels["aggregator"])
        guess = 60 * protocol.head.minutes.get(data, GUESS_MIN)
        whole = means.get((data, rule), means.get((data,), guess))
        warm = board.plan.warm.get(one.key)
        honest = (one.config.attack.start_round - 1) / one.config.train.rounds if warm else 0.0
        total += whole * (1 - honest)
        if warm and warm not in warm_ups and not (board.folder / "warmups" / warm).exists():
            total += whole * honest
            warm_ups.add(warm)
    return total


def overview(
    protocol: Protocol, board: Board, mine: Sequence[Planned], options: Options
) -> tuple[Table, str]:
    """Cells by log and state, with the hours that the open ones take; nothing is written."""
    states = board.states(held(options))
    workers = options.workers or cores()
    logs: dict[str, list[Planned]] = {}
    for one in mine:
        logs.setdefault(str(one.labels["data"]), []).append(one)
    rows: list[list[Value]] = []
    for log, cells in logs.items():
        counts = Counter(states[one.key] for one in cells)
        hours = seconds_left(protocol, board, cells) / 3600
        numbers = [float(counts[state]) for state in ("done", "in work", "failed", "open")]
        rows.append([log, float(len(cells)), *numbers, hours, hours / workers])
    columns = [Column("Log"), *(Column(n, ".0f") for n in ("cells", "done", "in work", "failed", "open"))]
    columns += [Column("hours of a core", ".1f"), Column(f"hours on {workers}", ".1f")]
    total = sum(seconds_left(protocol, board, cells) for cells in logs.values())
    count = len(open_cells(board, mine))
    span = seconds_text(total / workers)
    verb = "is" if count == 1 else "are"
    told = f"{protocol.title}: {count} of {counted(len(mine), 'cell')} {verb} open, "
    told += f"{span} on {counted(workers, 'core')}"
    return Table("cells", "Cells", "", columns, rows), told


def held(options: Options) -> dict[str, tuple[int, bool]]:
    """The claims in the folder, as :meth:`Claims.held` tells them."""
    folder = options.out / "claims"
    if not folder.is_dir():
        return {}
    with Claims(folder, options.patience_s) as claims:
        return claims.held()


def made(options: Options) -> None:
    """Make the folder. Raises RunError."""
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"--out {options.out}: {error.strerror}") from error
