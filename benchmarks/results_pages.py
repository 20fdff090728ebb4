"""The tables of ``docs/results/``, and one of the first pages, written from the grids that are kept there.

``python -m benchmarks.results_pages --keep runs/sparse sparse`` keeps a grid's results under
docs/results/data/sparse, with the machine that made them; then, and without arguments, every table is
written anew. A page says where a table goes:

    <!-- table sparse beside where Strategy=sieve: Attack, ER@10 -->
    <!-- end -->

names the kept grid, the table of ``fedsieve report`` (or ``protocol``, what was run), and the rows and
columns that are wanted, by default all. Several conditions on rows are joined by ``&``. The grid
``leaderboard`` is a folder of ``fedsieve leaderboard`` and has the tables of :mod:`benchmarks.board_tables`;
``models`` are the runs of :mod:`benchmarks.models`, ``byzantine`` has the table of
:mod:`benchmarks.byzantine_tables`, ``cap`` the summary of :mod:`benchmarks.cap_tables`, and ``targets`` the
tables of :mod:`benchmarks.target_tables`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.board_tables import board_table
from benchmarks.byzantine_tables import byzantine_table
from benchmarks.cap_tables import cap_table
from benchmarks.machine import made_on
from benchmarks.model_tables import model_table
from benchmarks.target_tables import target_table
from experiments.report.accuracy import Curves
from experiments.report.names import percent
from experiments.report.reading import read_grid
from experiments.report.section import Section, sections
from experiments.report.tables import Table, markdown
from experiments.report.writing import part

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "results"
DATA = PAGES / "data"
KEPT = ("results.csv", "floors.json")
ABOUT = "about.json"
BOARD = "leaderboard"
OWN_TABLES = {
    BOARD: board_table,
    "byzantine": byzantine_table,
    "cap": cap_table,
    "models": model_table,
    "targets": target_table,
}
"""Kept results that are no grid of ``fedsieve compare``."""
OVER_USERS = "NDCG@10 ± over users"
MARK = re.compile(
    r"(?P<head><!-- table (?P<grid>[\w-]+) (?P<name>[\w-]+)(?: where (?P<where>[^:>]*?))?"
    r"(?:: (?P<columns>[^>]*?))? -->\n)"
    r".*?(?P<end><!-- end -->)",
    re.DOTALL,
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", nargs=2, metavar=("DIR", "NAME"), help="a folder of fedsieve compare")
    parser.add_argument("--load", default="", help="what else the machine did meanwhile")
    args = parser.parse_args(arguments)
    if args.keep:
        keep(Path(args.keep[0]), args.keep[1], args.load)
    for page in pages():
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")


def pages() -> list[Path]:
    """Where a table may stand."""
    return [ROOT / "README.md", ROOT / "docs" / "index.md", *sorted(PAGES.glob("*.md"))]


def keep(folder: Path, name: str, load: str) -> None:
    """Copy what the tables are made of."""
    place = DATA / name
    place.mkdir(parents=True, exist_ok=True)
    for file in KEPT:
        if (folder / file).is_file() or name != BOARD:  # a leaderboard has no floors
            shutil.copy(folder / file, place / file)
    about = made_on(load)
    (place / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def filled(text: str) -> str:
    """A page with every table written anew. Raises KeyError for a table or column that is not there."""

    def one(found: re.Match[str]) -> str:
        columns = found["columns"] or ""
        between = ";" if ";" in columns else ","  # some titles have commas
        wanted = [name.strip() for name in columns.split(between) if name.strip()]
        text = written(found["grid"], found["name"], wanted, found["where"] or "")
        return found["head"] + "\n" + text + "\n" + found["end"]

    return MARK.sub(one, text)


def written(grid: str, name: str, columns: Sequence[str], where: str = "") -> str:
    """One table, of each section of the grid."""
    folder = DATA / grid
    if grid in OWN_TABLES and name != "protocol":
        return markdown(narrowed(OWN_TABLES[grid](folder, name), where, columns)).partition("\n\n")[2]
    found, _ = sections(read_grid(folder))
    if name == "protocol":
        return protocol(folder, found)
    texts = []
    for section in found:
        tables = {table.name: table for table in part(section, Curves(folder)).tables}
        text = markdown(narrowed(tables[name], where, columns))
        body = text.partition("\n\n")[2]  # the page has a heading of its own
        texts.append(f"**{section.title}**\n\n{body}" if len(found) > 1 else body)
    return "\n".join(texts)


def narrowed(table: Table, where: str, columns: Sequence[str]) -> Table:
    """The rows and columns that are wanted; nothing named is all."""
    for condition in filter(None, where.split("&")):
        table = only(table, condition.strip())
    return chosen(table, columns) if columns else table


def only(table: Table, where: str) -> Table:
    """The rows whose column TITLE reads VALUE, of ``where``: TITLE=VALUE; without floors."""
    title, _, value = where.partition("=")
    place = [column.title for column in table.columns].index(title)
    return replace(table, rows=[row for row in table.rows if row[place] == value], floors=())


def chosen(table: Table, columns: Sequence[str]) -> Table:
    """The columns of these titles."""
    titles = [column.title for column in table.columns]
    if missing := [name for name in columns if name not in titles]:
        raise KeyError(f"no column {missing[0]!r}; valid: {', '.join(titles)}")
    places = [titles.index(name) for name in columns]

    def cut(rows: Sequence[Sequence[object]]) -> list[list[object]]:
        return [[row[j] for j in places] for row in rows]

    note = table.note if OVER_USERS in columns else table.note.partition(" `± over users`")[0]
    return replace(
        table,
        note=note,
        columns=[table.columns[j] for j in places],
        rows=cut(table.rows),  # type: ignore[arg-type]
        floors=cut(table.floors),  # type: ignore[arg-type]
    )


def protocol(folder: Path, found: Sequence[Section]) -> str:
    """What was run: protocol, seeds, shares, cells, machine."""
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    seeds = sorted({seed for section in found for seed in section.seeds})
    shares = sorted({c.share for section in found for _, c in section.runs if c.share})
    cells = sum(len(section.cells) for section in found)
    hours = sum(cell.values.get("seconds", 0.0) for section in found for cell in section.cells) / 3600
    lines = [f"{section.title}: {text}" for section in found for text in section.protocols[:1]]
    meanwhile = f"; {about['load']}" if about["load"] else ""
    facts = (
        f"{', '.join(percent(share) for share in shares)} malicious; seeds {', '.join(map(str, seeds))}; "
        f"{cells} runs, {hours:.1f} hours of one core; {about['machine']}{meanwhile}."
    )
    return "\n".join(f"* {line}" for line in [*lines, facts]) + "\n"


if __name__ == "__main__":
    main()
