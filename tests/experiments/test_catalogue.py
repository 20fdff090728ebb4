"""What ``fedsieve list`` says of the registries, and the page made of it."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from attacks import ATTACKS
from client.regularisers import REGULARISERS
from common.data import DATASETS
from common.errors import UnknownName
from common.models import MODELS
from experiments.catalogue import PAGE, entries, facts, page, table
from server.aggregators import AGGREGATORS
from server.aggregators.pre import KNOWN
from server.constraints import CONSTRAINTS
from server.optimizers import OPTIMIZERS

REGISTRIES = {
    "aggregators": AGGREGATORS,
    "pre": KNOWN,
    "constraints": CONSTRAINTS,
    "optimizers": OPTIMIZERS,
    "regularisers": REGULARISERS,
    "attacks": ATTACKS,
    "models": MODELS,
    "datasets": DATASETS,
}


@pytest.mark.parametrize("what", REGISTRIES)
def test_the_catalogue_is_the_registry(what: str) -> None:
    found = entries(what)
    assert [entry["name"] for entry in found] == list(REGISTRIES[what])
    assert all(entry["summary"].strip() for entry in found)
    assert len({tuple(entry) for entry in found}) == 1  # the same columns for all


@pytest.mark.parametrize("what", REGISTRIES)
def test_names_are_whole_on_a_narrow_screen(what: str) -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(table(what, entries(what)))
    assert all(name in out.getvalue() for name in REGISTRIES[what])
    assert max(map(cell_len, out.getvalue().splitlines())) <= 80


@pytest.mark.parametrize("name", sorted(AGGREGATORS))
def test_every_rule_states_family_cost_breakdown_and_reference(name: str) -> None:
    entry = next(e for e in entries("aggregators") if e["name"] == name)
    assert entry["family"] in ("Gram space", "coordinate", "layer", "recommendation")
    assert entry["cost"].startswith("O(")
    assert entry["cost"].count("(") == entry["cost"].count(")")
    assert len(entry["breakdown"]) > 1
    assert "arXiv" in entry["reference"] or "20" in entry["reference"]


def test_the_docstring_is_where_it_comes_from() -> None:
    class Rule:
        """Σ w_i·u_i over
        two lines.

        More. Complexity O(n²·(P + K)) for the sum, else less. Breakdown: needs n > 3f. And more.
        Reference: arXiv 1234.56789.
        """

        def __init__(self, strength: float = 1.0) -> None: ...

    assert facts(Rule) == {
        "cost": "O(n²·(P + K))",
        "breakdown": "needs n > 3f",
        "reference": "arXiv 1234.56789",
        "parameters": "strength=1.0",
        "summary": "Σ w_i·u_i over two lines.",
    }


def test_parameters_and_kinds_are_listed() -> None:
    krum = next(e for e in entries("aggregators") if e["name"] == "krum")
    assert krum["parameters"] == "select=1, neighbours=paper, byzantine=None"
    boost = next(e for e in entries("attacks") if e["name"] == "explicit_boost")
    assert (boost["kind"], boost["goal"], boost["parameters"]) == ("model", "targeted", "boost=10.0")
    assert boost["reference"].startswith("arXiv")


def test_an_unknown_list_names_the_valid_ones() -> None:
    with pytest.raises(
        UnknownName,
        match="valid: aggregators, attacks, constraints, datasets, models",
    ):
        entries("rules")


def test_the_page_in_docs_is_of_today() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m experiments.catalogue"
