"""The page of a grid: protocol on top, a part for each data set and model, failed cells, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from experiments.report import contents, details, html
from experiments.report.curves import Curves, learning
from experiments.report.defence import cost, rejections, rows
from experiments.report.heatmaps import exposure, retained
from experiments.report.interactive import Spec
from experiments.report.naming import CLEAN, percent, slug
from experiments.report.plots import Figure
from experiments.report.reading import Grid
from experiments.report.section import ER, RETAINED, Section
from experiments.report.statistics import LEVEL
from experiments.report.tables import Column, Table
from experiments.report.tradeoff import tradeoff
from experiments.report.weights import weights

PROTOCOLS = 6
WIDE = ("retained", "exposure", "weights")


@dataclass(frozen=True)
class Part:
    """A section with its figures and tables; ``name`` is its folder and its anchor."""

    name: str
    section: Section
    figures: Sequence[Figure]
    tables: Sequence[Table]


def part(section: Section, curves: Curves) -> Part:
    figures = [
        retained(section),
        exposure(section),
        tradeoff(section),
        *learning(section, curves),
        weights(section),
        rows(section),
        rejections(section),
        cost(section),
    ]
    quality = "NDCG@10 retained" if section.quality == RETAINED else "NDCG@10"
    tables = [
        contents.main_table(section),
        details.test_table(section),
        details.quartile_table(section),
        details.weight_table(section),
        details.cost_table(section),
        details.pivot(section, section.quality, f"{quality} by attack", "ndcg-by-attack"),
        details.pivot(section, ER, "ER@10 by attack", "er-by-attack"),
        contents.runs_table(section),
    ]
    return Part(
        slug(section.title),
        section,
        [f for f in figures if f is not None],
        [t for t in tables if t is not None],
    )


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
    specs: dict[str, Mapping[str, Sequence[Spec]]] = {}
    bodies = [_part(one, specs) for one in parts]
    failed = failed_table(grid)
    links = " ".join(f"<a href='#{escape(p.name)}'>{escape(p.section.title)}</a>" for p in parts)
    body = [
        f"<h1>Comparison of strategies: {escape(grid.folder.resolve().name)}</h1>",
        _protocol(grid, parts),
        *(f"<p class='note'>{escape(note)}</p>" for note in notes),
        f"<nav>{links}</nav>" if len(parts) > 1 else "",
        *bodies,
        f"<h2>Failed cells</h2>{html.data_table(failed)}" if failed else "",
        f"<h2>Grid</h2><details><summary>grid.yaml</summary><pre>{escape(grid.settings)}</pre></details>"
        if grid.settings
        else "",
        html.scripts(specs),
    ]
    return html.frame("Comparison of strategies", "\n".join(filter(None, body)), ["grid.css"])


def _protocol(grid: Grid, parts: Sequence[Part]) -> str:
    """The protocols of the runs (the first few where rules have settings of their own), seeds and counts."""
    found = list(dict.fromkeys(p for one in parts for p in one.section.protocols))
    shown = [escape(text) for text in found[:PROTOCOLS]]
    if len(found) > PROTOCOLS:
        shown.append(f"and {len(found) - PROTOCOLS} more, see protocol in results.csv")
    seeds = sorted({seed for one in parts for seed in one.section.seeds})
    done = sum(cell.done for cell in grid.cells)
    interval = f"mean ± {percent(LEVEL)} confidence interval" if len(seeds) > 1 else "one seed: no interval"
    facts = (
        f"{done} finished cells, {len(grid.cells) - done} failed; "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))} ({interval}). "
        "A share of malicious devices is a share of all devices."
    )
    return "<p class='protocol'>" + "<br>".join([*shown, *_attackers(grid), facts]) + "</p>"


def _attackers(grid: Grid) -> list[str]:
    """Who is malicious, from which round on, and what is promoted: as far as the results say."""
    cells = [cell for cell in grid.cells if cell.done and cell.label("attack") not in CLEAN]

    def each(name: str) -> list[str]:
        return list(dict.fromkeys(filter(None, (cell.label(name) for cell in cells))))

    parts = {
        "malicious": [percent(float(share)) for share in each("malicious_share")],
        "from round": each("start_round"),
        "targets": each("aim"),
    }
    told = [f"{name} {', '.join(map(escape, found))}" for name, found in parts.items() if found]
    return [f"Attackers: {'; '.join(told)}."] if told else []


def _part(one: Part, specs: dict[str, Mapping[str, Sequence[Spec]]]) -> str:
    drawn = {}
    for figure in one.figures:
        name = f"{one.name}-{figure.name}"
        drawn[figure.name], found = html.figure(figure, name)
        if found:
            specs[name] = found
    main, *others = one.tables
    return (
        f"<section id='{escape(one.name)}'><h2>{escape(one.section.title)}</h2>{html.data_table(main)}"
        + "".join(text for name, text in drawn.items() if name in WIDE)
        + f"<div class='pair'>{''.join(text for name, text in drawn.items() if name not in WIDE)}</div>"
        + "".join(map(html.data_table, others))
        + "</section>"
    )
