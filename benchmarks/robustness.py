"""The claim of `make run` over seeds and attacks: what is left of the clean accuracy, and the exposure.

``python -m benchmarks.robustness [--config configs/demo.yaml] [--seeds 0 1 2] [--attacks …]
[--aggregators …] [--out runs/robustness]``. Every run of a seed has the same devices, slices and target;
"clean" is the plain mean with the malicious side honest, measured on the same users.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from benchmarks.accuracy import results
from benchmarks.interval import mean_and_half_width
from common.config import RunConfig
from common.settings import component
from common.settings import load as load_settings

Cell = tuple[str, str]
"""(aggregator, attack)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--attacks", nargs="+", default=["label_to_target", "explicit_boost", "sign_flip"])
    parser.add_argument("--aggregators", nargs="+", default=["mean", "sieve"])
    parser.add_argument("--out", type=Path, default=Path("runs/robustness"))
    args = parser.parse_args()
    base = load_settings(args.config)
    cells: list[Cell] = [("mean", "control"), ("sieve", "control")]
    cells += [(rule, attack) for attack in args.attacks for rule in args.aggregators]
    runs = {name(cell, seed): variant(base, cell, seed) for seed in args.seeds for cell in cells}
    summaries = results(runs, args.out, Console())
    print("\n| attack | aggregator | NDCG@10 | of clean | ER@10 |\n|---|---|---|---|---|")
    for cell in cells:
        found = [summaries[name(cell, seed)] for seed in args.seeds]
        clean = [summaries[name(cells[0], seed)] for seed in args.seeds]
        ndcg, half = mean_and_half_width([s["test"]["ndcg@10"] for s in found])
        kept = ndcg / mean_and_half_width([s["test"]["ndcg@10"] for s in clean])[0]
        exposed = mean_and_half_width([s["er@10"] for s in found])[0]
        worst = max(s["er@10"] for s in found)
        rule, attack = cell
        label = "none" if attack == "control" else attack
        print(
            f"| {label} | {rule} | {ndcg:.4f} ± {half:.4f} | {kept:.1%} | {exposed:.2%} (worst {worst:.2%}) |"
        )
    print(f"\n{summaries[name(cells[0], args.seeds[0])]['protocol']}; seeds {args.seeds}")


def name(cell: Cell, seed: int) -> str:
    """The run's folder."""
    return f"{cell[0]}-{cell[1]}-seed{seed}"


def variant(base: RunConfig, cell: Cell, seed: int) -> RunConfig:
    """``base`` with another rule, attack and seed."""
    rule, attack = cell
    strategy = base.strategy.model_copy(update={"aggregator": component(rule)})
    return base.model_copy(
        update={
            "seed": seed,
            "strategy": strategy,
            "attack": base.attack.model_copy(update={"name": attack}),
        }
    )


if __name__ == "__main__":
    main()
