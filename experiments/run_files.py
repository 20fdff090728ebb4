"""What a run wrote: its line files, and its summary as a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Group
from rich.table import Table
from rich.text import Text

from common.printable import LONGEST, printable
from common.tasks import ACCURACY
from experiments.run_schema import AuditLine, MetricsLine, Summary, checked

FLOORS = {"popularity": "Popularity", "markov": "Markov-1"}


def item_text(item: str, names: Mapping[str, Mapping[str, Any]]) -> str:
    """``50 Star Wars (1977)``, id and title; the id alone, or ``#12``, where that is all that is known."""
    return " ".join(filter(None, (str(item), names.get(str(item), {}).get("title"))))


KINDS: Mapping[str, type[BaseModel]] = {"metrics.jsonl": MetricsLine, "audit.jsonl": AuditLine}


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every line of ``metrics.jsonl`` or ``audit.jsonl``, one at a time: an audit is long.

    Raises CheckpointError for a line that does not say what such a line says.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            yield checked(KINDS[path.name], line, path, number)


def read_summary(folder: Path) -> dict[str, Any]:
    """``summary.json`` of a run. Raises CheckpointError where it is damaged, OSError where there is none."""
    path = folder / "summary.json"
    return checked(Summary, path.read_text(encoding="utf-8", errors="replace"), path)


def of_training(audit: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The lines about updates; those about replies to an evaluation say so, and are left out."""
    return (line for line in audit if "evaluation" not in line)


def times(summary: Mapping[str, Any]) -> str:
    """How long a run took, and how much of that was evaluation."""
    return f"{summary['seconds']:.0f} s, {summary.get('seconds_evaluation', 0.0):.0f} s of them evaluation"


def exposed(summary: Mapping[str, Any]) -> bool:
    """Whether ER is shown: it was measured, of items that somebody promotes or that were asked for."""
    return "er@10" in summary and bool(summary.get("targets_asked", True))


def _targets(summary: Mapping[str, Any]) -> str:
    """Whose exposure ER is, for the end of a line."""
    if not exposed(summary):
        return ""
    known = summary.get("target_items", {})
    return f"; targets: {', '.join(item_text(item, known) for item in summary['targets'])}"


def ranked(summary: Mapping[str, Any], split: str) -> list[tuple[str, Mapping[str, float]]]:
    """The metrics of ``split`` as rows, without a filter first where answers recur.

    In such a log devices have seen much of the catalogue, and few rivals are left to the filtered answer.
    """
    found = summary.get(split)
    if not found:
        return []
    if not summary.get("recurring"):
        return [(split, found)]
    plain = {name: found.get(f"{name}_unfiltered", value) for name, value in found.items()}
    return [(f"{split}, unfiltered", plain), (f"{split}, filtered", found)]


def filtered(summary: Mapping[str, Any]) -> str:
    """The end of a label: where answers recur, a figure without seen items stands beside one with them."""
    return ", filtered" if summary.get("recurring") else ""


def floor_rows(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float]]]:
    """The floors as rows, without a filter first where answers recur, as :func:`ranked` has the model."""
    plain, found = summary.get("floors_unfiltered", {}), summary.get("floors", {})
    return [
        *((f"{FLOORS.get(name, name)}, unfiltered", one) for name, one in plain.items()),
        *((f"{FLOORS.get(name, name)}{filtered(summary)}", one) for name, one in found.items()),
    ]


def beside_table(summary: Mapping[str, Any]) -> list[str]:
    """What a run found beside the table of its metrics, a line each: none of it fits into its columns."""
    found, end = [], filtered(summary)
    if (sure := summary.get("intervals")) is not None:
        names = ("hr@10", "ndcg@10", "mrr")
        ends = (f"{name.upper()} {sure[name][0]:.4f} to {sure[name][1]:.4f}" for name in names)
        found.append(f"test{end}, {sure['level']:.0%} over users: {', '.join(ends)}")
    if (told := summary.get("beyond")) is not None:
        found.append(
            f"lists of ten: {told['coverage@10']:.1%} of the catalogue, Gini {told['gini@10']:.3f}, "
            f"popularity {told['popularity@10']:.1f}, novelty {told['novelty@10']:.2f} bit"
        )
        groups = (
            f"{group} {one['ndcg@10']:.4f} ({one['devices']:,} users)"
            for group, one in summary.get("item_groups", {}).items()
            if "ndcg@10" in one
        )
        found.append(f"test{end}{',' * bool(end)} NDCG@10 by item: {', '.join(groups)}")
    if (more := summary.get("more_cuts")) is not None:
        cuts = sorted({int(name.split("@")[1]) for name in more})
        each = (f"HR@{k} {more[f'hr@{k}']:.4f}, NDCG@{k} {more[f'ndcg@{k}']:.4f}" for k in cuts)
        found.append(f"test{end}: {', '.join(each)}")
    return found


def printed(summary: Mapping[str, Any]) -> Group:
    """The table of a run, and what is beside it."""
    return Group(summary_table(summary), *(Text(line) for line in beside_table(summary)))


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The metrics of one run, by split."""
    table = Table(
        title=Text(printable(f"{summary['model']} on {summary['data']}, {summary['aggregator']}")),
        caption=Text(printable(summary["protocol"] + _targets(summary), LONGEST)),
    )
    for column in ("", *(n.upper() for n in ACCURACY)):
        table.add_column(column, justify="right" if column else "left")
    for split in ("valid", "test"):
        for label, found in ranked(summary, split):
            table.add_row(label, *(f"{found[n]:.4f}" for n in ACCURACY))
    for label, found in floor_rows(summary):
        table.add_row(label, *(f"{found[n]:.4f}" for n in ACCURACY), style="dim")
    if exposed(summary):
        table.add_section()
        table.add_row("ER@5/10/20", *(f"{summary[f'er@{k}']:.4f}" for k in (5, 10, 20)))
    if "er_group@10" in summary:
        within = (f"{summary[f'er_group@{k}']:.4f}" for k in (5, 10, 20))
        table.add_row(f"ER@5/10/20, holders of {summary['group']}", *within)
    return table
