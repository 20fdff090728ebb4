"""``make run``: what a promotion attack does to the plain mean, and what the sieve makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.config import RunConfig
from common.data import Dataset
from common.errors import ConfigError
from common.extras import install
from common.registry import Component
from common.settings import load as load_settings
from emulation.federation import malicious_numbers, open_log
from emulation.targets import with_targets
from experiments.beside import names_of
from experiments.compare.labels import component_label
from experiments.floors import floors
from experiments.progress import run_all
from experiments.run_files import item_text
from experiments.shipped import CONFIGS
from experiments.units import share_text
from server.records.checkpoint import write_atomically

CONFIG = CONFIGS / "demo.yaml"
CLEAN, PLAIN = "clean, plain mean", "attacked, plain mean"


def show(out: Path, overrides: Sequence[str]) -> dict[str, dict[str, float]]:
    """Run the three federations side by side, print the table, and write it to ``out/demo.json``."""
    console = Console()
    config = load_settings(CONFIG, overrides)
    dataset = open_log(config)
    config = with_targets(config, dataset)
    if config.attack.name in ("none", "control") or not config.eval.targets:
        raise ConfigError(
            "demo: expected attack.name, an attack, and attack.targets, an item whose exposure is shown "
            f"(given: {config.attack.name}, {list(config.attack.targets)})"
        )
    names = names_of(config.eval.targets[:1], dataset.item_ids, dataset.titles)
    target, share = item_text(next(iter(names)), names), config.attack.share
    console.print(
        f"{config.model.name} on {dataset.name}: {len(dataset)} users, each a device; "
        f"{share_text(share)} of the devices ({config.attack.name}) promote item {target}.",
        markup=False,
    )
    runs = plan(config)
    summaries = run_all(runs, out, console, workers=len(runs))
    rows = table_rows(config, dataset, summaries)
    console.print(draw(rows, summaries[CLEAN]["protocol"], config.seed))
    write_atomically(out / "demo.json", json.dumps(rows, indent=2).encode())
    told = f"ER@10: share of honest users who get the promoted item in their top 10. Files in {out}/"
    console.print(told, markup=False)
    if not any(out.glob("*/report.html")):
        console.print(f"For a report.html of each: {install('report')}", markup=False)
    return rows


def plan(config: RunConfig) -> dict[str, RunConfig]:
    """The three runs: the same devices, seed and slices; attack and rule differ."""
    mean = config.strategy.model_copy(update={"aggregator": Component(name="mean")})
    control = config.attack.model_copy(update={"name": "control", "params": {}})
    return {
        CLEAN: config.model_copy(update={"strategy": mean, "attack": control}),
        PLAIN: config.model_copy(update={"strategy": mean}),
        f"attacked, {component_label(config.strategy.aggregator)}": config,
    }


def table_rows(
    config: RunConfig, dataset: Dataset, summaries: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """HR@10, NDCG@10 and ER@10 on the test items of the honest users, floors first."""
    bad = malicious_numbers(config, dataset)
    honest = [i for i, number in enumerate(dataset.devices) if int(number) not in bad]
    rows = {
        {"popularity": "Popularity", "markov": "Markov-1"}[name]: {k: found[k] for k in ("hr@10", "ndcg@10")}
        for name, found in floors(dataset, devices=honest).items()
    }
    for name, summary in summaries.items():
        rows[name] = {k: summary["test"][k] for k in ("hr@10", "ndcg@10")} | {"er@10": summary["er@10"]}
    return rows


def draw(rows: Mapping[str, Mapping[str, float]], protocol: str, seed: int) -> Table:
    """The table that ends the demo."""
    table = Table(title="Test items of the honest users", caption=f"{protocol}; seed {seed}")
    table.add_column("")
    for column in ("HR@10", "NDCG@10", "ER@10"):
        table.add_column(column, justify="right")
    for name, row in rows.items():
        exposed = f"{row['er@10']:.1%}" if "er@10" in row else "–"
        table.add_row(Text(name), f"{row['hr@10']:.4f}", f"{row['ndcg@10']:.4f}", exposed)
    return table
