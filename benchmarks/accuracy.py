"""Clean federated accuracy over seeds, beside Popularity and Markov-1.

``python -m benchmarks.accuracy [CONFIG …] [--seeds 0 1 2] [--out runs/accuracy]``: each CONFIG is a YAML
file (default: configs/ml-100k.yaml and configs/ml-100k-gru4rec.yaml). Finished runs in --out are not
repeated; one with other settings is refused. Prints a Markdown table: mean over seeds ± half a 95 % t
interval, test items.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.interval import told
from common.config import RunConfig
from common.errors import ConfigError
from common.settings import load as load_settings
from emulation.federation import as_run, prepared
from emulation.targets import with_targets
from experiments.compare.command import Datasets
from experiments.compare.labels import data_label
from experiments.floors import floors
from experiments.pool import Work
from experiments.progress import run_all
from experiments.run_files import read_summary
from server.records.checkpoint import FREE, check_data, differing

CONFIGS = ("configs/ml-100k.yaml", "configs/ml-100k-gru4rec.yaml")
COLUMNS = ("hr@10", "ndcg@10")
UNSEEN = FREE - {"eval.every", "eval.sample"}
"""Settings that a finished run shows nothing of."""


def results(
    runs: Mapping[str, RunConfig], out: Path, console: Console, work: Work | None = None
) -> dict[str, dict[str, Any]]:
    """Summaries by name: of earlier runs where they are finished, else of new or resumed ones.

    Raises ConfigError for a finished run with other settings, CheckpointError for one on another log.
    """
    done, datasets = {}, Datasets()
    for name, config in runs.items():
        if (out / name / "summary.json").exists():
            done[name] = check_finished(out / name, config, datasets)
    left = {name: config for name, config in runs.items() if name not in done}
    return done | (run_all(left, out, console, resume=True, work=work) if left else {})


def check_finished(folder: Path, config: RunConfig, datasets: Datasets | None = None) -> dict[str, Any]:
    """The summary of the finished run in ``folder``.

    Raises ConfigError where its settings are not ``config``, CheckpointError where its log is another.
    """
    summary = read_summary(folder)
    dataset, digest = (datasets or Datasets()).get(config)
    saved = load_settings(folder / "config.yaml")
    check_data(folder, saved, str(summary.get("data_digest", "")), config, digest)
    if other := differing(saved, as_run(with_targets(config, dataset)), free=UNSEEN):
        raise ConfigError(f"{folder} is a finished run with other settings: {other}; choose another --out")
    return summary


def row(label: str, values: Sequence[Mapping[str, float]]) -> str:
    """A line of the table."""
    cells = [told([v[column] for v in values]) for column in COLUMNS]
    return f"| {label} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="*", default=CONFIGS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"))
    args = parser.parse_args()
    console = Console()
    named = {Path(path).stem: load_settings(Path(path)) for path in args.configs}
    runs = {
        f"{name}-seed{seed}": config.model_copy(update={"seed": seed})
        for name, config in named.items()
        for seed in args.seeds
    }
    summaries = results(runs, args.out, console)
    print("\n| test, full ranking, seen filtered | HR@10 | NDCG@10 |\n|---|---|---|")
    labels = {name: data_label(config) for name, config in named.items()}
    for data in dict.fromkeys(labels.values()):
        dataset, _ = prepared(next(config for name, config in named.items() if labels[name] == data))
        found = floors(dataset)
        print(row(f"{data} Popularity", [found["popularity"]]))
        print(row(f"{data} Markov-1", [found["markov"]]))
        for name in named:
            if labels[name] == data:
                of_seeds = [summaries[f"{name}-seed{seed}"] for seed in args.seeds]
                print(row(f"{name}, {len(args.seeds)} seeds", [s["test"] for s in of_seeds]))
    for name in named:
        first = summaries[f"{name}-seed{args.seeds[0]}"]
        print(f"\n{name}: {first['protocol']}; {first['seconds']:.0f} s a run")


if __name__ == "__main__":
    main()
