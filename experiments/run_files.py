"""What a run wrote: its line files, and its summary as a table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from common.printable import LONGEST, printable

FLOORS = {"popularity": "Popularity", "markov": "Markov-1"}


def item_text(item: str, names: Mapping[str, Mapping[str, Any]]) -> str:
    """``50 Star Wars (1977)``, id and title; the id alone, or ``#12``, where that is all that is known."""
    return " ".join(filter(None, (str(item), names.get(str(item), {}).get("title"))))


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Every line of ``path`` as what it says, one at a time: an audit is long."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def of_training(audit: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The lines about updates; those about replies to an evaluation say so, and are left out."""
    return (line for line in audit if "evaluation" not in line)


def times(summary: Mapping[str, Any]) -> str:
    """How long a run took, and how much of that was evaluation."""
    return f"{summary['seconds']:.0f} s, {summary['seconds_evaluation']:.0f} s of them evaluation"


def _targets(summary: Mapping[str, Any]) -> str:
    """Whose exposure ER is, for the end of a line."""
    if "er@10" not in summary:
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


def beyond_texts(told: Mapping[str, float]) -> tuple[str, ...]:
    """Coverage, Gini, popularity and novelty with their names, a text each."""
    return (
        f"coverage {told['coverage@10']:.1%}",
        f"Gini {told['gini@10']:.3f}",
        f"popularity {told['popularity@10']:.1f}",
        f"novelty {told['novelty@10']:.2f} bit",
    )


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The metrics of one run, by split."""
    table = Table(
        title=Text(printable(f"{summary['model']} on {summary['data']}, {summary['aggregator']}")),
        caption=Text(printable(summary["protocol"] + _targets(summary), LONGEST)),
    )
    names = ("hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")
    for column in ("", *(n.upper() for n in names)):
        table.add_column(column, justify="right" if column else "left")
    for split in ("valid", "test"):
        for label, found in ranked(summary, split):
            table.add_row(label, *(f"{found[n]:.4f}" for n in names))
    for name, found in summary.get("floors", {}).items():
        table.add_row(FLOORS.get(name, name), *(f"{found[n]:.4f}" for n in names), style="dim")
    if (sure := summary.get("intervals")) is not None:
        shown = ("–".join(f"{end:.4f}" for end in sure[name]) if name in sure else "" for name in names)
        table.add_row(f"test, {sure['level']:.0%} over users", *shown)
    if "beyond" in summary:
        table.add_section()
        told = summary["beyond"]
        table.add_row("beyond accuracy @10", *beyond_texts(told), style="dim")
        for group, found in summary["item_groups"].items():
            if found["devices"]:
                hr, ndcg = f"{found['hr@10']:.4f}", f"{found['ndcg@10']:.4f}"
                table.add_row(f"test, {group} items", "", hr, "", "", ndcg, "", f"of {found['devices']:,}")
    if (more := summary.get("more_cuts")) is not None:
        table.add_section()
        cuts = sorted({int(name.split("@")[1]) for name in more})
        for k in cuts:
            table.add_row(f"test, HR and NDCG @{k}", f"{more[f'hr@{k}']:.4f}", f"{more[f'ndcg@{k}']:.4f}")
    if "er@10" in summary:
        table.add_section()
        exposed = [f"{summary[f'er@{k}']:.4f}" for k in (5, 10, 20)]
        table.add_row("ER@5/10/20", *exposed)
    if "er_group@10" in summary:
        within = (f"{summary[f'er_group@{k}']:.4f}" for k in (5, 10, 20))
        table.add_row(f"ER@5/10/20, holders of {summary['group']}", *within)
    return table
