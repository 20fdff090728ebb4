"""Tables for the terminal."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.table import Table

from attacks import ATTACKS
from common.config import ModelConfig
from common.data import DATASETS, describe
from common.errors import UnknownName
from common.models import MODELS, build_model
from server.aggregators import AGGREGATORS

Entry = dict[str, str]


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The metrics of one run, by split."""
    table = Table(
        title=f"{summary['model']} on {summary['data']}, {summary['aggregator']}", caption=summary["protocol"]
    )
    names = ("hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")
    for column in ("", *(n.upper() for n in names)):
        table.add_column(column, justify="right" if column else "left")
    for split in ("valid", "test"):
        if split in summary:
            table.add_row(split, *(f"{summary[split][n]:.4f}" for n in names))
    if "er@10" in summary:
        table.add_section()
        targets = ", ".join(map(str, summary["targets"]))
        table.add_row(f"ER@5/10/20 of item {targets}", *(f"{summary[f'er@{k}']:.4f}" for k in (5, 10, 20)))
    return table


def catalogue(what: str) -> list[Entry]:
    """Entries of ``fedsieve list``. Raises UnknownName."""
    known: Mapping[str, Callable[[], list[Entry]]] = {
        "aggregators": lambda: [_rule(name, rule) for name, rule in AGGREGATORS.items()],
        "attacks": lambda: [_attack(name) for name in ATTACKS],
        "models": lambda: [
            {"name": name, "summary": _first_line(build_model(ModelConfig(name=name)))} for name in MODELS
        ],
        "datasets": lambda: [{"name": name, "summary": describe(name)} for name in DATASETS],
    }
    if what not in known:
        raise UnknownName("list", what, known)
    return known[what]()


def _rule(name: str, rule: Callable[..., Any]) -> Entry:
    parameters = ", ".join(p for p in inspect.signature(rule).parameters)
    return {"name": name, "summary": _first_line(rule), "parameters": parameters}


def _attack(name: str) -> Entry:
    rule = ATTACKS[name]
    return {
        "name": name,
        "kind": rule.kind,
        "goal": rule.goal,
        "knowledge": rule.knowledge,
        "reference": rule.reference or "-",
        "parameters": ", ".join(inspect.signature(rule).parameters) or "-",
        "summary": _first_line(rule),
    }


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def catalogue_table(what: str, entries: Sequence[Entry]) -> Table:
    """One row an entry."""
    table = Table(title=what, show_lines=False)
    for column in entries[0]:
        table.add_column(column, overflow="fold")
    for entry in entries:
        table.add_row(*entry.values())
    return table
