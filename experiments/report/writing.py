"""``fedsieve report DIR``: the page, the image files and the table files of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from common.errors import RunError
from experiments.report import contents, pages
from experiments.report.accuracy import Curves, exposure, learning, retained, tradeoff
from experiments.report.beside import beside_table, beyond_parity
from experiments.report.defence import cost, rejections, rows, weights
from experiments.report.drawing import draw
from experiments.report.former import former, replace_former
from experiments.report.images import ImagesError, save
from experiments.report.latex import latex
from experiments.report.names import CLEAN, percent, slug
from experiments.report.plots import Figure
from experiments.report.reading import Grid, read_grid
from experiments.report.section import ER, Section, sections, share_retained
from experiments.report.statistics import FEWEST, LEVEL
from experiments.report.tables import Column, Table, markdown
from server.records.checkpoint import write_atomically

PROTOCOLS = 6
WIDE = ("retained", "exposure", "beyond", "weights")


@dataclass(frozen=True)
class Part:
    """A section with its figures and tables; ``name`` is its folder and its anchor.

    drawn: for each figure, variant -> what Plotly draws.
    """

    name: str
    section: Section
    figures: Sequence[Figure]
    drawn: Sequence[dict[str, go.Figure]]
    tables: Sequence[Table]


@dataclass(frozen=True)
class Written:
    """What was written, and the main tables for the terminal."""

    page: Path
    images: Sequence[Path]
    tables: Sequence[Path]
    main: Sequence[Table]
    notes: Sequence[str]


def _apart(parts: Sequence[Part]) -> list[Part]:
    """With names of their own: two labels may differ in signs that no file name has."""
    found: list[Part] = []
    for one in parts:
        same = sum(one.name == other.name or other.name.startswith(f"{one.name}--") for other in found)
        found.append(replace(one, name=f"{one.name}--{same + 1}") if same else one)
    return found


def write_grid_report(folder: Path, images: bool = True) -> Written:
    """Read DIR; write ``report.html``, ``plots/`` and ``tables/`` there, and remove those of a report before.

    Without ``images`` the plots stay where the page does not change. Where images cannot be made, a note says
    why. Raises RunError when DIR holds no results, a file is damaged or nothing can be written.
    """
    grid = read_grid(folder)
    found, hidden = sections(grid)
    curves = Curves(folder)
    parts = _apart([part(section, curves) for section in found])
    notes = _notes(len(hidden), curves.lost, parts)
    path = folder / "report.html"
    plots: list[Path] = []
    content = page(grid, parts, notes).encode("utf-8")
    try:
        same = path.is_file() and path.read_bytes() == content
        write_atomically(path, content)
        tables = _write_tables(folder / "tables", parts, failed_table(grid))
        if not same:  # now: images take long, and whoever stops them is not to keep those of another page
            replace_former(folder, tables)
        if images and parts:
            try:
                plots = _write_images(folder / "plots", parts)
            except ImagesError as error:
                notes.append(str(error))
        still = [one for one in former(folder) if folder / "plots" in one.parents] if same else []
        replace_former(folder, [*tables, *(plots or still)])
    except OSError as error:
        raise RunError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    return Written(path, plots, tables, [one.tables[0] for one in parts], notes)


def part(section: Section, curves: Curves) -> Part:
    """Everything that is shown of a section."""
    made = [
        retained(section),
        exposure(section),
        beyond_parity(section),
        tradeoff(section),
        *learning(section, curves),
        weights(section),
        rows(section),
        rejections(section),
        cost(section),
    ]
    quality = "NDCG@10 retained" if section.quality == share_retained else "NDCG@10"
    tables = [
        contents.main_table(section),
        beside_table(section),
        contents.test_table(section),
        contents.quartile_table(section),
        contents.weight_table(section),
        contents.cost_table(section),
        contents.pivot(section, section.quality, f"{quality} by attack", "ndcg-by-attack"),
        contents.pivot(section, ER, "ER@10 by attack", "er-by-attack"),
        contents.runs_table(section),
    ]
    figures = [one for one in made if one is not None]
    drawn = [{variant: draw(plot) for variant, plot in one.variants.items()} for one in figures]
    return Part(slug(section.title), section, figures, drawn, [t for t in tables if t is not None])


def failed_table(grid: Grid) -> Table | None:
    """Cells that ended with an error."""
    failed = [cell for cell in grid.cells if not cell.done]
    names = ("cell", "data", "model", "aggregator", "pre", "attack", "malicious_share", "seed")
    columns = [*(Column(name.replace("_", " ")) for name in names), Column("settings"), Column("error")]
    found = [
        [
            *(cell.label(name) for name in names),
            ", ".join(f"{k}={v}" for k, v in cell.settings.items()),
            cell.label("error") or "no error was recorded",
        ]
        for cell in failed
    ]
    return Table("failed", f"{len(failed)} failed cells", "", columns, found) if failed else None


def page(grid: Grid, parts: Sequence[Part], notes: Sequence[str]) -> str:
    """``report.html``; the main table leads each part, the long ones end it."""
    charts: pages.Charts = {}
    failed = failed_table(grid)
    return pages.render(
        "grid.html",
        charts,
        title="Comparison of strategies",
        name=grid.folder.resolve().name,
        protocol=_protocol(grid, parts),
        notes=notes,
        parts=[_shown(one, charts) for one in parts],
        failed=failed and pages.data_table(failed),
        settings=grid.settings,
    )


def _shown(one: Part, charts: pages.Charts) -> dict[str, Any]:
    views = {
        figure.name: pages.figure(
            f"{one.name}-{figure.name}", figure.title, figure.note, drawn, figure.choice, charts
        )
        for figure, drawn in zip(one.figures, one.drawn, strict=True)
    }
    main, *others = map(pages.data_table, one.tables)
    return {
        "name": one.name,
        "title": one.section.title,
        "main": main,
        "wide": [view for name, view in views.items() if name in WIDE],
        "narrow": [view for name, view in views.items() if name not in WIDE],
        "tables": others,
    }


def _protocol(grid: Grid, parts: Sequence[Part]) -> list[str]:
    """The protocols of the runs (the first few where rules have settings of their own), seeds and counts."""
    found = list(dict.fromkeys(p for one in parts for p in one.section.protocols))
    shown = found[:PROTOCOLS]
    if len(found) > PROTOCOLS:
        shown.append(f"and {len(found) - PROTOCOLS} more, see protocol in results.csv")
    seeds = sorted({seed for one in parts for seed in one.section.seeds})
    done = sum(cell.done for cell in grid.cells)
    few = "one seed: no interval" if len(seeds) == 1 else f"the mean; an interval needs {FEWEST} seeds"
    interval = few if len(seeds) < FEWEST else f"mean ± {percent(LEVEL)} confidence interval"
    facts = (
        f"{done} finished cells, {len(grid.cells) - done} failed; "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))} ({interval}). "
        "A share of malicious devices is a share of all devices."
    )
    return [*shown, *_attackers(grid), facts]


def _attackers(grid: Grid) -> list[str]:
    """Who is malicious, from which round on, and what is promoted: as far as the results say."""
    cells = [cell for cell in grid.cells if cell.done and cell.label("attack") not in CLEAN]

    def each(name: str) -> list[str]:
        return list(dict.fromkeys(filter(None, (cell.label(name) for cell in cells))))

    known = {
        "malicious": [percent(float(share)) for share in each("malicious_share")],
        "from round": each("start_round"),
        "targets": each("aim"),
    }
    told = [f"{name} {', '.join(found)}" for name, found in known.items() if found]
    return [f"Attackers: {'; '.join(told)}."] if told else []


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
    wanted = []
    for one in parts:
        for figure, drawn in zip(one.figures, one.drawn, strict=True):
            for variant, chart in drawn.items():
                stem = figure.name + (f"--{slug(variant)}" if len(drawn) > 1 else "")
                title = f"{figure.title}: {one.section.title}" + (f"; {variant}" if variant else "")
                wanted.append((chart, folder / one.name / stem, title))
    return save(wanted)
