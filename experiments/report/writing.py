"""``fedsieve report DIR``: the page, the image files and the table files of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import RunError
from experiments.report.curves import Curves
from experiments.report.dividing import sections
from experiments.report.latex import latex
from experiments.report.markup import markdown
from experiments.report.naming import slug
from experiments.report.page import Part, failed_table, page, part
from experiments.report.reading import read_grid
from experiments.report.tables import Table
from server.records.checkpoint import write_atomically


@dataclass(frozen=True)
class Written:
    """What was written, and the main tables for the terminal."""

    page: Path
    images: Sequence[Path]
    tables: Sequence[Path]
    main: Sequence[Table]
    notes: Sequence[str]


def write_grid_report(folder: Path, images: bool = True) -> Written:
    """Read DIR; write ``report.html``, ``plots/`` and ``tables/`` there.

    Raises RunError when DIR holds no results, a file is damaged or nothing can be written.
    """
    grid = read_grid(folder)
    found, hidden = sections(grid)
    curves = Curves(folder)
    parts = [part(section, curves) for section in found]
    notes = _notes(len(hidden), curves.lost, parts)
    path = folder / "report.html"
    try:
        write_atomically(path, page(grid, parts, notes).encode("utf-8"))
        tables = _write_tables(folder / "tables", parts, failed_table(grid))
        plots = _write_images(folder / "plots", parts) if images else []
    except OSError as error:
        raise RunError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    return Written(path, plots, tables, [one.tables[0] for one in parts], notes)


def _notes(hidden: int, lost: int, parts: Sequence[Part]) -> list[str]:
    notes = []
    if not parts:
        notes.append("No cell has finished: there is nothing to compare.")
    if hidden:
        notes.append(
            f"{hidden} cells have the same names and seed as a later one, which is shown: they differ in a "
            "setting that has no column in the results."
        )
    if lost:
        notes.append(f"{lost} cells have no readable metrics.jsonl: the learning curves are without them.")
    for one in parts:
        section = one.section
        expected = len(section.strategies) * len({c for _, c in section.runs}) * len(section.seeds)
        if missing := expected - len(section.cells):
            notes.append(
                f"{section.title}: {missing} of {expected} combinations of strategy, attack and seed have no "
                "finished run; means over attacks are over what there is (column cells)."
            )
    return notes


def _write_tables(folder: Path, parts: Sequence[Part], failed: Table | None) -> list[Path]:
    paths = []
    chosen = [(folder / one.name, table) for one in parts for table in one.tables]
    chosen += [(folder, failed)] if failed else []
    for place, table in chosen:
        place.mkdir(parents=True, exist_ok=True)
        for ending, form in ((".md", markdown), (".tex", latex)):
            paths.append(place / f"{table.name}{ending}")
            write_atomically(paths[-1], form(table).encode("utf-8"))
    return paths


def _write_images(folder: Path, parts: Sequence[Part]) -> list[Path]:
    from experiments.report.images import save  # matplotlib takes a second to load

    paths = []
    for one in parts:
        for figure in one.figures:
            for variant, plot in figure.variants.items():
                stem = figure.name + (f"--{slug(variant)}" if len(figure.variants) > 1 else "")
                title = f"{figure.title}: {one.section.title}" + (f"; {variant}" if variant else "")
                paths += save(plot, folder / one.name / stem, title)
    return paths
