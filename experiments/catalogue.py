"""What the settings can name: ``fedsieve list``, and the same tables in ``docs/catalogue.md``.

Formula, cost, breakdown point and reference are read from the docstring of each rule, where a reader of
the code needs them anyway. ``python -m experiments.catalogue`` writes the page anew, and the
modules of ``fedsieve/`` with them (library.py).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from attacks import ATTACKS
from client.regularisers import REGULARISERS
from common.data import DATASETS, describe
from common.errors import ConfigError, UnknownName
from common.models import MODELS, OF_THE_MODEL
from experiments import library
from server.aggregators import AGGREGATORS, Aggregator
from server.aggregators.pre import KNOWN
from server.constraints import CONSTRAINTS
from server.optimizers import OPTIMIZERS

Entry = dict[str, Any]
PAGE = Path(__file__).resolve().parents[1] / "docs" / "catalogue.md"
SHOWN: Mapping[str, tuple[str, ...]] = {
    "aggregators": ("name", "family", "cost", "breakdown", "slices", "host", "reference"),
    "pre": ("name", "reference", "summary"),
    "constraints": ("name", "parameters", "summary"),
    "optimizers": ("name", "parameters", "summary"),
    "regularisers": ("name", "parameters", "reference", "summary"),
    "attacks": ("name", "kind", "goal", "knowledge", "reference"),
    "models": ("name", "parameters", "reference", "summary"),
    "datasets": ("name", "summary"),
}
"""Columns of the tables of the page, which has parameters and summary too."""
EVERY = ("kind", "count", "names")
"""Columns of the table of all kinds."""


def entries(what: str) -> list[Entry]:
    """Entries of ``fedsieve list``. Raises UnknownName."""
    known: Mapping[str, Callable[[], list[Entry]]] = {
        "aggregators": lambda: [
            {
                "name": name,
                "family": rule.family,
                "host": rule.host or "-",
                **facts(rule),
                "slices": _slices(rule),
            }
            for name, rule in AGGREGATORS.items()
        ],
        "pre": lambda: [{"name": name, **facts(mixer)} for name, mixer in KNOWN.items()],
        "constraints": lambda: [{"name": name, **facts(rule)} for name, rule in CONSTRAINTS.items()],
        "optimizers": lambda: [{"name": name, **facts(step)} for name, step in OPTIMIZERS.items()],
        "regularisers": lambda: [{"name": name, **facts(term)} for name, term in REGULARISERS.items()],
        "attacks": lambda: [_attack(name) for name in ATTACKS],
        "models": lambda: [
            {
                "name": name,
                "parameters": _parameters(kind, OF_THE_MODEL),
                "reference": _paper(kind),
                "summary": _lines(kind),
            }
            for name, kind in MODELS.items()
        ],
        "datasets": lambda: [{"name": name, "summary": describe(name)} for name in DATASETS],
    }
    if what == "all":
        return [_kind(name, [one["name"] for one in found()]) for name, found in known.items()]
    if what not in known:
        raise UnknownName("list", what, known)
    return known[what]()


def _kind(name: str, names: Sequence[str]) -> Entry:
    return {"kind": name, "count": len(names), "names": list(names)}


def facts(rule: Callable[..., object]) -> Entry:
    """Cost, breakdown, reference, parameters and the docstring's first paragraph; "-" where not said."""
    paragraphs = [" ".join(part.split()) for part in (inspect.getdoc(rule) or "").split("\n\n")]

    def said(pattern: str) -> str:
        found = next(filter(None, (re.search(pattern, text) for text in paragraphs)), None)
        return found.group(1) if found else "-"

    return {
        "cost": said(r"Complexity (O\(.+?\))(?=[.,;:]| for| time| a | \w)"),
        "breakdown": said(r"Breakdown(?: point)?:? (.+?)(?=[.;](?: |$)| \()"),
        "reference": said(r"Reference: (.+?)(?: \(no arXiv version\))?\.?$"),
        "parameters": _parameters(rule),
        "summary": _lines(rule),
    }


def _parameters(kind: Callable[..., object], less: Collection[str] = ()) -> str:
    """``rows=1.25, retention=0.8``: what a component takes beside ``less``, with the defaults."""
    found = [p for p in inspect.signature(kind).parameters.values() if p.name not in less]
    shown = (p.name if p.default is p.empty else f"{p.name}={p.default}" for p in found)
    return ", ".join(shown) or "-"


def _slices(rule: type[Aggregator]) -> str:
    """How many slices of a round the rule takes."""
    return "any" if rule.sliced else "1"


def _attack(name: str) -> Entry:
    attack = ATTACKS[name]
    return {
        "name": name,
        "kind": attack.kind,
        "goal": attack.goal,
        "knowledge": attack.knowledge + ("; or full" if attack.full else ""),
        "reference": attack.reference or "-",
        "parameters": _parameters(attack),
        "summary": _lines(attack),
    }


def _paper(kind: type) -> str:
    """The first arXiv number of the module that ``kind`` is from."""
    found = re.search(r"arXiv [\d.]+\d", inspect.getdoc(inspect.getmodule(kind)) or "")
    return found.group() if found else "-"


def _lines(thing: object) -> str:
    """The first paragraph of a docstring as one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def entry(what: str, name: str) -> Entry:
    """All that is known of one. Raises UnknownName."""
    if what == "all":
        raise ConfigError(f"list: a name needs its kind, as in fedsieve list aggregators {name}")
    found = {one["name"]: one for one in entries(what)}
    if name not in found:
        raise UnknownName(f"name in {what}", name, found)
    return found[name]


def table(what: str, found: Sequence[Entry]) -> Table:
    """A row an entry: its name, which is never broken, and the first sentence about it."""
    shown = Table(title="What the settings can name" if what == "all" else what)
    for column in EVERY if what == "all" else ("name", "summary"):
        shown.add_column(column, no_wrap=column in ("name", "kind"))
    for one in found:
        if what == "all":
            shown.add_row(one["kind"], str(one["count"]), ", ".join(one["names"]))
        else:
            shown.add_row(one["name"], Text(_sentence(one["summary"])))
    return shown


def card(found: Entry) -> Table:
    """All that is known of one, a row a fact."""
    shown = Table(show_header=False)
    shown.add_column(no_wrap=True)
    for name, text in found.items():
        shown.add_row(name, Text(text.replace("``", "`")))
    return shown


def _sentence(text: str) -> str:
    """The first sentence; one that ends with the text, else before a capital letter."""
    return re.split(r"(?<=[.;:])\s+(?=[A-Z])", text.replace("``", "`"), maxsplit=1)[0]


def page() -> str:
    """The text of ``docs/catalogue.md``."""
    lines = ["# Catalogue", "", "Written by `python -m experiments.catalogue`."]
    for what, columns in SHOWN.items():
        columns = columns if what == "datasets" else tuple(dict.fromkeys((*columns, "parameters", "summary")))
        lines += ["", f"## {what}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for one in entries(what):
            cells = (one[column].replace("|", "\\|").replace("``", "`") for column in columns)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    library.write()
