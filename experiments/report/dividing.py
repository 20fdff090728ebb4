"""A grid's cells divided into sections: one for each data set, model and varying setting of the protocol."""

from __future__ import annotations

from experiments.report.naming import Condition, Names
from experiments.report.reading import Cell, Grid
from experiments.report.section import Section


def sections(grid: Grid) -> tuple[list[Section], list[Cell]]:
    """The sections of the finished cells, and cells hidden by a later one of the same names and seed."""
    done = [cell for cell in grid.cells if cell.done]
    names = Names.of(done)
    found: dict[tuple[str, str, str], dict[tuple[str, Condition], dict[int, Cell]]] = {}
    hidden: list[Cell] = []
    for cell in done:
        runs = found.setdefault(names.section(cell), {})
        by_seed = runs.setdefault((names.strategy(cell), names.condition(cell)), {})
        if cell.seed in by_seed:
            hidden.append(by_seed[cell.seed])
        by_seed[cell.seed] = cell
    return [
        Section(data, model, setting, runs, grid.floors.get(data, {}))
        for (data, model, setting), runs in found.items()
    ], hidden
