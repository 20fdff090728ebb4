"""One slice a round against several, on a large catalogue: who is busy, what it costs, what is learned.

``python -m benchmarks.slices [--slices 1 4 16] [--size 512] [--total 8192] [--gigabytes 3] [--set KEY=VALUE]
[--quick]``: embedded runs with the mean on a made-up log (common/data/synthetic_large.py). For each number m
of slices there is a run with ``size`` items a slice, and one with ``total``/m. A run ends with the round in
which devices have sent ``gigabytes``, at one rate of learning but for its first rounds; then ``eval.sample``
devices rank all items. Each row is a process of its own; seconds are of a round without the evaluation.
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from flwr.app import Context, Message, MessageType

from client.app import own_devices
from client.cohort import Cohort
from client.fleet import open_fleet
from client.node_settings import read_settings
from common import wire
from common.config import RunConfig
from common.machine import cores, peak_mib
from common.settings import load
from emulation.embedded import Embedded
from emulation.federation import node_configs, prepared, repeatable
from emulation.local_grid import LocalGrid
from experiments.pool import processes
from server.records.outputs import RunFolder
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState
from server.strategy import RobustStrategy

SETTINGS = (
    "data.name=synthetic",
    "strategy.aggregator=mean",
    "strategy.decay_from=1",
    "train.rounds=1000000",
    "train.devices_per_round=256",
    "train.slice_correction=false",
    "eval.sample=4000",
    "checkpoint_every=0",
)
LOG, QUICK = "devices=20000,items=50000,interactions=200000", "devices=200,items=400,interactions=2000"
HEAD = (
    *("m", "K", "m·K", "rounds", "busy", "next items a round", "KB a busy device", "s a round", "peak MiB"),
    *("NDCG@10", "HR@10"),
)


class Counted(Embedded):
    """The nodes, with the next items that their devices trained, and the seconds that counting them took."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config.strategy.deadline_s, omniscient=False)
        self.trained, self.seconds = 0, 0.0

    def __call__(self, message: Message, context: Context) -> Message:
        if message.metadata.message_type == MessageType.TRAIN:
            clock = time.perf_counter()
            self.trained += next_items(message, context)
            self.seconds += time.perf_counter() - clock
        return super().__call__(message, context)


def next_items(message: Message, context: Context) -> int:
    """Next items that the devices asked for train, all together; nodes have to be repeatable."""
    settings = read_settings(context.node_config)
    task, fleet = wire.decode_train_task(message.content), open_fleet(settings)
    own = own_devices(task, fleet)
    cohort = Cohort(task, own, fleet.train_histories(own), key=settings.device_key())
    return int(cohort.targets.per_slice.max(axis=1).sum())


@dataclass
class Account:
    """The figures of all rounds, and of the evaluation."""

    rounds: list[dict[str, float]] = field(default_factory=list)
    found: dict[str, float] = field(default_factory=dict)

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        self.rounds.append(dict(report.figures))

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.found = dict(evaluation.groups["all"])

    def total(self, name: str) -> float:
        return sum(figures[name] for figures in self.rounds)


def row(overrides: Sequence[str], gigabytes: float) -> list[str]:
    """One row of the table; for a fresh process."""
    logging.disable(logging.WARNING)
    dataset, config = prepared(load(overrides=overrides))
    config = repeatable(config)
    app, account, seconds = Counted(config), Account(), list[float]()
    grid = LocalGrid(app, node_configs(config))
    with tempfile.TemporaryDirectory() as folder:
        records = RunFolder(Path(folder) / "run", config)
        strategy = RobustStrategy(config, dataset.num_items, [records, account], "run", None, records.audit)
        records.create()
        strategy.wait_for_nodes(grid, 1)
        while not account.rounds or account.total("bytes_up") < gigabytes * 1e9:
            clock, counting = time.perf_counter(), app.seconds
            strategy.round(grid, len(account.rounds) + 1)
            seconds.append(time.perf_counter() - clock - (app.seconds - counting))
        strategy.evaluate(grid, "valid", progress=True)
        records.close()
    train, rounds, busy = config.train, len(account.rounds), account.total("admitted")
    assert train.slice_size != "auto"
    return [
        *(f"{train.slices}", f"{train.slice_size:,}", f"{train.slices * train.slice_size:,}", f"{rounds:,}"),
        *(f"{busy / account.total('asked'):.0%}", f"{app.trained / rounds:,.0f}"),
        *(f"{account.total('bytes_up') / busy / 1e3:,.0f}", f"{statistics.median(seconds):.2f}"),
        *(f"{peak_mib():,.0f}", f"{account.found['ndcg@10']:.4f}", f"{account.found['hr@10']:.4f}"),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slices", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--total", type=int, default=8192)
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--quick", action="store_true", help="a few devices, to see that it runs")
    args = parser.parse_args(argv)
    given = [*SETTINGS, f"data.path={QUICK if args.quick else LOG}", *args.set]
    if args.quick:
        args.slices, args.size, args.total, args.gigabytes = [1, 4], 16, 64, 0.001
        given += ["model.dim=8", "model.blocks=1", "train.devices_per_round=32", "eval.sample=0"]
    print(f"{platform.machine()}, {cores()} cores, {torch.get_num_threads()} threads, ", end="")
    print(f"torch {torch.__version__}; {args.gigabytes:g} GB from devices in each run")
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    sizes = dict.fromkeys([(m, args.size) for m in args.slices] + [(m, args.total // m) for m in args.slices])
    for count, size in sizes:
        own = [*given, f"train.slices={count}", f"train.slice_size={size}"]
        with processes().Pool(1) as pool:
            print(f"| {' | '.join(pool.apply(row, (own, args.gigabytes)))} |", flush=True)


if __name__ == "__main__":
    main()
