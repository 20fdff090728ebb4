"""``leaderboard.html``: the tables with filters and the meaning of each column, in one file."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import RunError
from common.printable import counted
from experiments.compare.results import write_results
from experiments.leaderboard.cells import Board, State
from experiments.leaderboard.columns import BOARD, BY_ATTACK, PUBLISHED
from experiments.leaderboard.kept import KEPT, as_text, check_kept
from experiments.leaderboard.protocol import Protocol
from experiments.leaderboard.standing import Groups
from experiments.leaderboard.tables import (
    Measured,
    attack_table,
    failed_table,
    overall_table,
    published_table,
    scope_table,
)
from experiments.report import pages
from experiments.report.reading import Cell, Grid, read_grid
from experiments.report.section import Section, sections
from experiments.report.tables import Table, markdown
from server.records.begun import PAGE
from server.records.checkpoint import write_atomically
from server.records.holding import PATIENCE_S, hold


def measured(protocol: Protocol, board: Board, states: Mapping[str, State]) -> Measured:
    """What the folder holds of the protocol."""
    labels = {one.key: one.labels for one in board.plan.cells}
    return Measured(protocol, labels, states, groups(board.rows()), str(board.folder))


def groups(rows: Sequence[Mapping[str, Any]]) -> Groups:
    """The finished runs by log and model; each by itself, so that budgets of logs are no condition."""
    done = [dict(row) for row in rows if row["status"] == "done"]
    if not done:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        write_results(Path(folder), done)
        return by_log_and_model(read_grid(Path(folder)).cells)


def by_log_and_model(cells: Sequence[Cell]) -> Groups:
    """Finished runs as a section of a report for each log and model."""
    found: dict[tuple[str, str], Section] = {}
    for group in dict.fromkeys((cell.label("data"), cell.label("model")) for cell in cells):
        mine = tuple(cell for cell in cells if (cell.label("data"), cell.label("model")) == group)
        (found[group],), _ = sections(Grid(Path(), mine))
    return found


def write_page(board: Board, known: Measured, patience_s: float = PATIENCE_S) -> Path:
    """Write the page, ``results.csv`` and its like, and ``tables/``.

    Raises RunError, ConfigError where the folder is of another protocol or of something else, and FolderInUse
    where another machine still writes its page after ``patience_s`` seconds.
    """
    folder, rows = board.folder, board.rows()
    settings = as_text(known.protocol)
    shown: list[tuple[Table | None, Mapping[str, str]]] = [
        (overall_table(known), BOARD),
        (scope_table(known), BOARD),
        (attack_table(known), BY_ATTACK),
        (published_table(known), PUBLISHED),
        (failed_table(rows), {}),
    ]
    tables = [(table, meaning) for table, meaning in shown if table is not None]
    page = pages.render(
        "leaderboard.html",
        {},
        title=known.protocol.title,
        protocol=facts(board, known),
        notes=notes(board),
        tables=[(pages.data_table(table), _meaning(table, meaning)) for table, meaning in tables],
        name=f"{known.protocol.wanted}, resolved",
        settings=settings,
    )
    lock = hold(folder, patience_s)  # no other protocol may come between the look and the writing
    try:
        if check_kept(folder, known.protocol):
            write_atomically(folder / KEPT, settings.encode())
        (folder / "tables").mkdir(exist_ok=True)
        write_atomically(folder / PAGE, page.encode())
        for table, _ in tables:
            write_atomically(folder / "tables" / f"{table.name}.md", markdown(table).encode())
        if rows:
            write_results(folder, rows)
    except OSError as error:
        raise RunError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    finally:
        lock.release()
    return folder / PAGE


def facts(board: Board, known: Measured) -> list[str]:
    """What was measured and how much of it is done, in a few lines."""
    counts = Counter(known.states.values())
    told = ", ".join(f"{counts[state]:,} {state}" for state in ("done", "in work", "failed", "open"))
    budget: dict[str, str] = {}
    for one in board.plan.cells:
        train, start = one.config.train, one.config.attack.start_round
        budget.setdefault(
            str(one.labels["data"]),
            f"{train.rounds} rounds of {train.devices_per_round} devices, {train.slice_size} items a slice, "
            f"attackers from round {start} on",
        )
    axes = {
        name: len(known.each(name))
        for name in ("data", "model", "aggregator", "attack", "malicious_share", "seed")
    }
    size = " × ".join(f"{n} {_named(name, n)}" for name, n in axes.items())
    return [
        f"{size}: {counted(len(known.states), 'cell')}; {told}.",
        "A fixed budget for each log. " + "; ".join(f"{data}: {text}" for data, text in budget.items()) + ".",
        "Full ranking over the whole catalogue, leave-one-out, test items, seen items left out.",
    ]


def _named(label: str, count: int) -> str:
    words = {"data": "log", "aggregator": "rule", "malicious_share": "share"}
    return words.get(label, label) + ("s" if count > 1 else "")


def notes(board: Board) -> list[str]:
    """What a reader must know about this folder."""
    found = [
        f"{label} is not on this machine, its cells are shown as open: {why}"
        for label, why in board.plan.absent.items()
    ]
    if others := board.others():
        belong, are = ("belongs", "is") if others == 1 else ("belong", "are")
        found.append(
            f"{counted(others, 'cell')} in the folder {belong} to other code, another protocol or a rule "
            f"that was not named with --add, and {are} not shown."
        )
    return found


def _meaning(table: Table, meaning: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(column.title, meaning[column.title]) for column in table.columns if column.title in meaning]
