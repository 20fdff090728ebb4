"""What each regulariser does on short histories: to the accuracy, and to the success of an attack.

``python -m benchmarks.regularisers [--config configs/demo.yaml] [--length 10] [--seeds 0 1 2]
[--terms none anchor=0.001 …] [--set KEY=VALUE …] [--out runs/regularisers]``. A term is a name with or
without a weight, or ``{name: …, …}`` as in the settings. Histories are cut to their last ``--length``
interactions (0: as they are) before the split. For each term: a clean run (the plain mean, the malicious
side honest), and the attack of ``--attack`` under the plain mean and the sieve; all measured on the same
honest users. Choose weights by the valid column. Finished runs in --out are used again; for other settings
than theirs choose another.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from benchmarks.accuracy import results
from benchmarks.interval import told
from client.regularisers import build_regularisers
from common.config import Component, RunConfig
from common.settings import component
from common.settings import load as load_settings

TERMS = ("none", "anchor", "lookahead")
CELLS = (("mean", "control"), ("mean", ""), ("sieve", ""))
"""(aggregator, attack) of a term's runs; "" is the attack asked for."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--length", type=int, default=10)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--terms", nargs="+", default=list(TERMS))
    parser.add_argument("--attack", default="label_to_target")
    parser.add_argument("--set", nargs="+", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs/regularisers"))
    args = parser.parse_args(arguments)
    base = load_settings(args.config, [f"data.max_length={args.length}", *args.overrides])
    terms = {text: parse(text) for text in args.terms}
    runs = {
        name(text, rule, attack, seed): variant(base, found, rule, attack or args.attack, seed)
        for seed in args.seeds
        for text, found in terms.items()
        for rule, attack in CELLS
    }
    summaries = results(runs, args.out, Console())
    print(
        f"\n| regulariser | valid NDCG@10 | test NDCG@10 | shortest quartile | ER@10 {args.attack}, mean "
        "| ER@10, sieve |\n|---|---|---|---|---|---|"
    )
    for text in terms:
        clean, mean, sieve = (
            [summaries[name(text, rule, attack, seed)] for seed in args.seeds] for rule, attack in CELLS
        )
        cells = [
            told([s["valid"]["ndcg@10"] for s in clean]),
            told([s["test"]["ndcg@10"] for s in clean]),
            told([shortest(s) for s in clean]),
            *(told([s["er@10"] for s in found]) for found in (mean, sieve)),
        ]
        print(f"| {text} | {' | '.join(cells)} |")
    first = summaries[name(args.terms[0], *CELLS[0], args.seeds[0])]
    cut = f"histories cut to {args.length}" if args.length else "whole histories"
    print(f"\n{cut}; {first['protocol']}; seeds {args.seeds}")
    if shortest(first) == first["test"]["ndcg@10"]:
        print("Histories are equally long after the cut: the shortest quartile is everyone.")


def parse(text: str) -> tuple[Component, ...]:
    """``none``, ``anchor``, ``anchor=0.1``, ``{name: lookahead, reach: 3}``. Raises ConfigError."""
    if text == "none":
        return ()
    label, sign, weight = text.partition("=")
    if text.startswith("{"):
        found = Component.model_validate(yaml.safe_load(text))
    else:
        found = component(label, **({"weight": float(weight)} if sign else {}))
    build_regularisers([found])
    return (found,)


def name(text: str, rule: str, attack: str, seed: int) -> str:
    """The run's folder."""
    plain = "".join(c if c.isalnum() or c in "._=-" else "_" for c in text)
    return f"{plain}-{rule}-{attack or 'attacked'}-seed{seed}"


def variant(base: RunConfig, terms: tuple[Component, ...], rule: str, attack: str, seed: int) -> RunConfig:
    """``base`` with other terms, rule, attack and seed."""
    return base.model_copy(
        update={
            "seed": seed,
            "client": base.client.model_copy(update={"regularisers": terms}),
            "strategy": base.strategy.model_copy(update={"aggregator": component(rule)}),
            "attack": base.attack.model_copy(update={"name": attack}),
        }
    )


def shortest(summary: dict[str, Any]) -> float:
    """NDCG@10 of the quartile with the shortest histories."""
    return float(summary["quartiles"]["q1"]["ndcg@10"])


if __name__ == "__main__":
    main()
