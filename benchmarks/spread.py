"""Does it matter whether the malicious devices are on one node or on many? ER@10 by their number of nodes.

``python -m benchmarks.spread [--honest 16] [--malicious 2 32] [--seeds 3 4 5] [--out runs/spread]
[--page]``: a fifth of ML-100K's devices, 100 rounds of 64, under the plain mean and the sieve. Attackers of
one node see one another's devices and act together; those of other nodes know the target alone. The server
cuts a node that claims more than its share (server/nodes/shares.py), so that of attackers on one node fewer
take part. Finished runs in --out are not repeated; one with other settings is refused. ``--page`` writes the
table of docs/results/shares.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.accuracy import check_finished
from benchmarks.interval import told
from benchmarks.marks import with_marked
from common.config import RunConfig
from common.settings import component
from common.settings import load as load_settings
from emulation.federation import federate, prepared
from emulation.partitions import partitions
from experiments.run_files import read_summary

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "shares.md"
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "ml-100k.yaml"
SET = (
    *("model.blocks=1", "model.dropout=0.2", "train.rounds=100", "train.devices_per_round=64"),
    *("eval.every=0", "attack.share=0.2", "attack.targets=cold"),
)
ATTACKS: Mapping[str, Mapping[str, str]] = {
    "parity": {},
    "label_to_target": {},
    "adaptive": {},
    "adaptive(mode=encoder)": {"mode": "encoder"},
}
RULES = ("mean", "sieve")

Runs = dict[tuple[str, str, int, int], Mapping[str, Any]]
"""(rule, attack, malicious nodes, seed) -> the summary of a run."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--honest", type=int, default=16)
    parser.add_argument("--malicious", nargs="+", type=int, default=[2, 32])
    parser.add_argument("--seeds", nargs="+", type=int, default=[3, 4, 5])
    parser.add_argument("--set", nargs="+", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs/spread"))
    parser.add_argument("--page", action="store_true")
    args = parser.parse_args(arguments)
    base = load_settings(CONFIG, [*SET, *args.overrides])
    runs: Runs = {}
    for seed, nodes, attack, rule in product(args.seeds, args.malicious, ATTACKS, RULES):
        where = args.out / f"{rule}-{attack}-{args.honest}-{nodes}-seed{seed}"
        found = one(variant(base, rule, attack, seed), args.honest, nodes, where)
        runs[rule, attack, nodes, seed] = found
        print(f"{rule}, {attack}, {nodes} nodes, seed {seed}: ER@10 {found['er@10']:.3f}", flush=True)
    made = table(runs)
    first = next(iter(runs.values()))
    made += f"\n\n{args.honest} honest nodes; seeds {', '.join(map(str, args.seeds))}; {first['protocol']}."
    print(made)
    if args.page:
        PAGE.write_text(with_marked(PAGE.read_text(encoding="utf-8"), "spread", made), encoding="utf-8")


def variant(base: RunConfig, rule: str, attack: str, seed: int) -> RunConfig:
    """``base`` with another rule, attack and seed."""
    hostile = {"name": attack.partition("(")[0], "params": dict(ATTACKS[attack])}
    return base.model_copy(
        update={
            "seed": seed,
            "strategy": base.strategy.model_copy(update={"aggregator": component(rule)}),
            "attack": base.attack.model_copy(update=hostile),
        }
    )


def one(config: RunConfig, honest: int, malicious: int, out: Path) -> Mapping[str, Any]:
    """The summary of one run on so many nodes, in this process."""
    if (out / "summary.json").exists():
        return check_finished(out, config)
    dataset, config = prepared(config)
    with tempfile.TemporaryDirectory(prefix="spread-") as folder:
        parts = partitions(config, dataset, honest, Path(folder), malicious)
        federate(config, out, resume=True, nodes=parts)
    return read_summary(out)


def table(runs: Runs) -> str:
    """A row for each attack and number of nodes: ER@10 under each rule, beyond parity, and NDCG@10."""
    lines = [
        "| Attack | Nodes | ER@10, mean | ER@10, sieve | beyond parity, sieve | NDCG@10, sieve |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    seeds = sorted({seed for _, _, _, seed in runs})
    for attack, nodes in dict.fromkeys((attack, nodes) for _, attack, nodes, _ in runs):
        plain, ours, honest = (
            [runs[rule, name, nodes, seed] for seed in seeds]
            for rule, name in (("mean", attack), ("sieve", attack), ("sieve", "parity"))
        )
        reached = [float(s["er@10"]) for s in ours]
        cells = [
            told([float(s["er@10"]) for s in plain], ".3f"),
            told(reached, ".3f"),
            told([er - float(s["er@10"]) for er, s in zip(reached, honest, strict=True)], "+.3f"),
            told([float(s["test"]["ndcg@10"]) for s in ours]),
        ]
        name = attack.replace("_", "\\_")
        lines.append(f"| {name} | {nodes} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
