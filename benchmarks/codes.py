"""A large catalogue on rows of its own and on code rows: what a round sends, holds and takes.

``python -m benchmarks.codes [--items 200000 1000000] [--rows 1021] [--books 4] [--asked 32] [--rounds 3]
[--devices 2000] [--quick]``: an embedded run with the mean on a made-up log of ten interactions a device,
slices that keep .6 of the devices busy, then all devices rank the catalogue twice. Each row of the table is a
process of its own.
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from common.config import RunConfig
from common.machine import cores, peak_mib
from common.settings import load
from emulation.federation import federate
from experiments.pool import processes
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState

QUICK = ("model.dim=8", "model.max_len=10", "model.blocks=1")


@dataclass
class Watch:
    """Figures of the rounds, the model's size, and the devices ranked a second."""

    rounds: list[RoundReport] = field(default_factory=list)
    table: torch.Size = field(default_factory=lambda: torch.Size([0, 0]))
    evaluations: list[Evaluation] = field(default_factory=list)

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        self.rounds.append(report)
        self.table = state.model.table.shape

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)


def cost(config: RunConfig) -> tuple[str, ...]:
    """The cells of one row; for a fresh process."""
    logging.disable(logging.WARNING)
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        federate(config, Path(folder) / "run", listeners=[watch])
    figures = [report.figures for report in watch.rounds]
    busy = statistics.fmean(f["admitted"] / f["asked"] for f in figures)
    up = statistics.fmean(f["bytes_up"] / max(f["admitted"], 1) for f in figures)
    ranked = sum(e.devices for e in watch.evaluations) / sum(e.seconds for e in watch.evaluations)
    return (
        f"{watch.table[0] - 1:,}",
        f"{busy:.0%}",
        f"{up / 1e6:.2f}",
        f"{figures[-1]['bytes_down'] / 1e6:.1f}",
        f"{statistics.median(f['seconds'] for f in figures):.2f}",
        f"{ranked:,.0f}",
        f"{peak_mib():,.0f}",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", nargs="+", type=int, default=[200_000, 1_000_000])
    parser.add_argument("--books", type=int, default=4)
    parser.add_argument("--rows", type=int, default=1021)
    parser.add_argument("--devices", type=int, default=2_000)
    parser.add_argument("--asked", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small numbers, for a test of this benchmark")
    args = parser.parse_args(arguments)
    if args.quick:
        args.items, args.rows, args.devices, args.asked = [10_000], 31, 60, 16
    print(
        f"{platform.machine()}, {cores()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print("| items | table | rows | busy | MB up a busy device | MB down | s a round | ranked/s | peak MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for items in args.items:
        for books in (0, args.books):
            log = f"devices={args.devices},items={items},interactions={10 * args.devices},spread=0.0"
            config = load(
                overrides=[
                    *("data.name=synthetic", f"data.path='{log}'", f"model.code_books={books}"),
                    *(f"model.code_rows={args.rows}", f"train.devices_per_round={args.asked}"),
                    *(f"train.rounds={args.rounds}", "train.slice_size=auto", "strategy.aggregator=mean"),
                    *("eval.every=0", "checkpoint_every=0", *(QUICK if args.quick else ())),
                ]
            )
            with processes().Pool(1) as pool:
                cells = pool.apply(cost, (config,))
            name = f"{books} x {args.rows} codes" if books else "own rows"
            print(f"| {items:,} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
