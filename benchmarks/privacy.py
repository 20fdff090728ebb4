"""What uploaded rows tell about histories, what the options of client/privacy.py hide, and their price.

``python -m benchmarks.privacy [--config configs/demo.yaml] [--rounds 200] [--devices 64] [--seeds 0 1]
[--settings none clip=0.5,noise=0.02 …] [--set KEY=VALUE …] [--out runs/privacy] [--write]``. A setting is
``none`` or options of ``client`` with their values. For each: a run without an attack under the plain mean,
from which the guesses of benchmarks/guessing.py are made, and runs with ``label_to_target`` on 20 % of the
devices under the plain mean and the sieve. Finished runs in --out are not repeated. ``--write`` puts the
tables into docs/privacy.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.accuracy import results
from benchmarks.guessing import FILE, Watcher
from benchmarks.interval import mean_and_half_width
from common.config import RunConfig
from common.machine import cores
from common.settings import changed, to_tree
from common.settings import load as load_settings
from emulation.embedded import Embedded
from emulation.federation import node_configs, prepared, repeatable
from emulation.local_grid import LocalGrid
from experiments.pool import Job, Notes
from server.app import serve

PAGE = Path(__file__).resolve().parents[1] / "docs" / "privacy.md"
BEGIN = "<!-- tables: begin (written by `python -m benchmarks.privacy --write`) -->\n"
END = "<!-- tables: end -->\n"
SETTINGS = (
    "none",
    "clip=0.5",
    "clip=0.5,noise=0.01",
    "clip=0.5,noise=0.03",
    "clip=0.5,noise=0.1",
    "clip=0.5,noise=5",
    "decoys=16",
    "decoys=64",
    "quantise=sign",
    "quantise=top_k,top_k=8",
)
CELLS = (("mean", "none"), ("mean", "label_to_target"), ("sieve", "label_to_target"))
"""(aggregator, attack) of a setting's runs."""


def main(arguments: Sequence[str] | None = None, page: Path = PAGE) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"))
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--devices", type=int, default=64)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS))
    parser.add_argument("--set", nargs="+", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs/privacy"))
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args(arguments)
    short = [f"train.rounds={args.rounds}", f"train.devices_per_round={args.devices}"]
    base = load_settings(args.config, [*short, "eval.every=0", "checkpoint_every=0", *args.overrides])
    runs = {
        name(setting, rule, attack, seed): variant(base, setting, rule, attack, seed)
        for seed in args.seeds
        for setting in args.settings
        for rule, attack in CELLS
    }
    summaries = results(runs, args.out, Console(), watched)
    text = tables(summaries, args.out, args.settings, args.seeds)
    print(text)
    if args.write:
        page.write_text(renewed(page.read_text(encoding="utf-8"), text), encoding="utf-8")


def name(setting: str, rule: str, attack: str, seed: int) -> str:
    """The run's folder."""
    return f"{setting.replace(',', '+')}-{rule}-{attack}-seed{seed}"


def variant(base: RunConfig, setting: str, rule: str, attack: str, seed: int) -> RunConfig:
    """``base`` with other options, rule, attack and seed. Raises ConfigError for options that are none."""
    options = dict(part.partition("=")[::2] for part in setting.split(",") if setting != "none")
    found = {f"client.{key}": value for key, value in options.items()}
    return changed(
        to_tree(base),
        {**found, "strategy.aggregator": rule, "attack.name": attack, "attack.share": 0.2, "seed": seed},
    )


def watched(job: Job, notes: Notes) -> None:
    """One run; guesses are made where all devices are honest."""
    dataset, config = prepared(repeatable(job.config))
    app: Embedded = Embedded(config.strategy.deadline_s, False)
    listeners: list[Any] = [notes]
    if config.attack.name == "none":
        app = watcher = Watcher(dataset, job.folder, config.strategy.deadline_s)
        listeners.append(watcher)
        shutil.rmtree(job.folder / "state", ignore_errors=True)  # guesses need all rounds: start anew
    serve(LocalGrid(app, node_configs(config)), config, dataset.num_items, job.folder, True, listeners)


def tables(
    summaries: Mapping[str, Mapping[str, Any]], out: Path, settings: Sequence[str], seeds: Sequence[int]
) -> str:
    """Both tables, and how their numbers were obtained; entries are means over seeds."""
    guessed, price = [], []
    for setting in settings:
        clean, mean, sieve = (
            [summaries[name(setting, rule, attack, seed)] for seed in seeds] for rule, attack in CELLS
        )
        found = guesses(out, setting, seeds)
        pairs = [
            (guess, what) for guess in ("alone", "marks", "union") for what in ("precision", "recall")
        ] + [("union", "median"), ("ranked", "precision")]
        cells = [told([one[guess][what] for one in found]) for guess, what in pairs]
        guessed.append(f"| `{setting}` | {' | '.join(cells)} |")
        epsilon = [one["privacy"]["epsilon"] for one in clean if "privacy" in one]
        cells = [
            f"{max(epsilon):,.0f}" if epsilon else "–",
            *(told([one["test"][metric] for one in clean], 4) for metric in ("hr@10", "ndcg@10")),
            *(
                cell
                for part in (mean, sieve)
                for cell in (
                    told([one["test"]["ndcg@10"] for one in part], 4),
                    told([100 * one["er@10"] for one in part], 1) + " %",
                )
            ),
        ]
        price.append(f"| `{setting}` | {' | '.join(cells)} |")
    plain = guesses(out, settings[0], seeds)
    base, whole = (told([one[guess]["base"] for one in plain], 3) for guess in ("alone", "union"))
    popular = told([one["popular"]["precision"] for one in plain])
    first = summaries[name(settings[0], *CELLS[0], seeds[0])]
    return "\n".join(
        [
            "| setting | one update: precision | recall | marks: precision | recall | all rounds: precision "
            "| recall | of the median user | ranking |",
            "|---" * 9 + "|",
            *guessed,
            "",
            f"Guessing blindly: {base} (an item of the slice is in the history), {whole} (any item is); "
            f"the most popular items, as many as the history has: {popular}.",
            "",
            "| setting | ε | HR@10 | NDCG@10 | attacked, mean: NDCG@10 | ER@10 | attacked, sieve: NDCG@10 "
            "| ER@10 |",
            "|---" * 8 + "|",
            *price,
            "",
            f"{first['data']}, {first['model']}; {first['protocol']}; seeds {', '.join(map(str, seeds))}; "
            f"{platform.machine()}, {cores()} cores, torch {torch.__version__}.",
            "",
        ]
    )


def guesses(out: Path, setting: str, seeds: Sequence[int]) -> list[dict[str, dict[str, float | None]]]:
    """What was guessed in the clean runs of a setting, by seed."""
    folders = [out / name(setting, *CELLS[0], seed) for seed in seeds]
    return [json.loads((folder / FILE).read_text(encoding="utf-8")) for folder in folders]


def told(values: Sequence[float | None], digits: int = 2) -> str:
    """Mean over seeds, with ± half a 95 % t interval from three seeds on; – where a seed has none."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "–"
    mean, half = mean_and_half_width(known)
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}" if len(known) > 2 else "")


def renewed(text: str, found: str) -> str:
    """The page with new tables between its marks. Raises ValueError where a mark is missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name}: expected {BEGIN.strip()!r} and {END.strip()!r}")
    return f"{before}{begin}{found}{end}{after}"


if __name__ == "__main__":
    main()
