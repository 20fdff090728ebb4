"""The tables of ``docs/results/leaderboard.md``, from the results of a leaderboard that are kept there.

What is kept are figures by log, model, rule, attack, share and seed, measured by the code of one commit. The
cells of the protocol that they do not have are open.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from experiments.compare.grid import expand
from experiments.leaderboard.cells import State
from experiments.leaderboard.page import by_log_and_model
from experiments.leaderboard.protocol import Protocol, read_protocol
from experiments.leaderboard.tables import (
    Measured,
    attack_table,
    overall_table,
    published_table,
    scope_table,
)
from experiments.report.names import percent
from experiments.report.reading import read_grid
from experiments.report.tables import Column, Table, Value

AXES = ("data", "model", "aggregator", "attack", "malicious_share", "seed")


def board_table(folder: Path, name: str) -> Table:
    """``state``, ``all``, ``scopes``, ``attacks`` or ``published``. Raises KeyError for another name."""
    known = kept(folder, read_protocol())
    makers = {
        "state": state_table,
        "all": overall_table,
        "scopes": scope_table,
        "attacks": attack_table,
        "published": published_table,
    }
    found = makers[name](known)
    assert found is not None  # the shipped protocol names published numbers
    return found


def kept(folder: Path, protocol: Protocol) -> Measured:
    """The protocol's cells, and which of them are done in ``folder``."""
    cells = tuple(cell for cell in read_grid(folder).cells if cell.done)
    done = {tuple(cell.label(name) for name in AXES) for cell in cells}
    labels = {str(number): cell.labels for number, cell in enumerate(expand(protocol.grid))}
    states: dict[str, State] = {
        key: "done" if tuple(str(one[name]) for name in AXES) in done else "open"
        for key, one in labels.items()
    }
    return Measured(protocol, labels, states, by_log_and_model(cells), "DIR")


def state_table(measured: Measured) -> Table:
    """Finished and open cells by log, model and share."""
    names = ("data", "model", "malicious_share")
    counts: dict[tuple[str, str, float], Counter[str]] = {}
    for key, one in measured.labels.items():
        group = str(one[names[0]]), str(one[names[1]]), float(one[names[2]])
        counts.setdefault(group, Counter())[measured.states[key]] += 1
    rows: list[list[Value]] = [
        [data, model, percent(share), float(count["done"]), float(count["open"])]
        for (data, model, share), count in counts.items()
    ]
    columns = [
        Column("Log"),
        Column("Model"),
        Column("Malicious"),
        Column("Done", ",.0f"),
        Column("Open", ",.0f"),
    ]
    return Table("state", "What is done", "", columns, rows)
