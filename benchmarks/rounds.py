"""Device updates a second in whole rounds, from the draw to the next model; evaluation is apart.

``python -m benchmarks.rounds [--rules mean sieve] [--devices 128 512 2048] [--slices 512 2048] [--rounds 4]
[--on cpu cuda] [--steps 1] [--quick]``: an in-process run of SASRec (d = 64, L = 50, dropout .2) on a
synthetic log whose histories fill the window, with audit and metrics on disk. Each row is a process of its
own; its first round warms up and is not counted. Training is what the node takes; the rest is the server's.
What of ``--on`` this machine lacks is named, and left out.
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from flwr.app import Context, Message, MessageType

from common.config import RunConfig
from common.device import available, resolve, title
from common.machine import cores, peak_mib
from common.settings import load
from emulation.embedded import Embedded
from emulation.federation import node_configs, prepared, repeatable
from emulation.local_grid import LocalGrid
from experiments.pool import processes
from server.records.outputs import RunFolder
from server.strategy import RobustStrategy


@dataclass(frozen=True)
class Cost:
    """Medians over the rounds: seconds of one, of its training; the process' peak in MiB, host and card."""

    round: float
    training: float
    mib: float
    card_mib: float


class Timed(Embedded):
    """The nodes, with the seconds that their training took."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config.strategy.deadline_s, omniscient=False)
        self.seconds = 0.0

    def __call__(self, message: Message, context: Context) -> Message:
        clock = time.perf_counter()
        reply = super().__call__(message, context)
        if message.metadata.message_type == MessageType.TRAIN:
            finish()
            self.seconds += time.perf_counter() - clock
        return reply


def finish() -> None:
    """Wait for the card: its work is only queued when a call returns."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def settings(rule: str, devices: int, size: int, on: str, steps: int, items: int) -> list[str]:
    """A run whose rounds ask ``devices`` of a third more."""
    log = f"devices={devices * 4 // 3},items={items},interactions={devices * 4 // 3 * 60},spread=0.0"
    return [
        *("data.name=synthetic", f"data.path={log}", "model.dropout=0.2", f"device={on}"),
        *(f"train.devices_per_round={devices}", f"train.slice_size={size}", f"train.local_steps={steps}"),
        *(f"strategy.aggregator={rule}", "checkpoint_every=0", "eval.every=0"),
    ]


def cost(overrides: Sequence[str], rounds: int) -> Cost:
    """What rounds of a run with these settings cost in this process."""
    logging.disable(logging.WARNING)
    dataset, config = prepared(load(overrides=overrides))
    config = repeatable(config)
    app = Timed(config)
    grid = LocalGrid(app, node_configs(config))
    spent: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        records = RunFolder(Path(folder) / "run", config)
        strategy = RobustStrategy(config, dataset.num_items, [records], "run", None, records.audit)
        records.create()
        strategy.wait_for_nodes(grid, 1)
        for round_ in range(1, rounds + 2):
            app.seconds, clock = 0.0, time.perf_counter()
            strategy.round(grid, round_)
            finish()
            spent.append((time.perf_counter() - clock, app.seconds))
        records.close()
    whole, training = (statistics.median(column) for column in zip(*spent[1:], strict=True))
    card = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    return Cost(whole, training, peak_mib() or 0.0, card)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rules", nargs="+", default=["mean", "sieve"])
    parser.add_argument("--devices", nargs="+", type=int, default=[128, 512, 2048])
    parser.add_argument("--slices", nargs="+", type=int, default=[512, 2048])
    parser.add_argument("--on", nargs="+", default=["cpu", "cuda"])
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--quick", action="store_true", help="a few devices, to see that it runs")
    args = parser.parse_args(argv)
    if args.quick:
        args.devices, args.slices, args.items, args.rounds = [24], [64], 400, 1
    here = [on for on in args.on if on == "cpu" or len(available()) > 1]
    for on in args.on:
        print(f"{on}: {title(resolve(on))}" if on in here else f"{on}: NOT MEASURED, this machine has none")
    print(
        f"{platform.machine()}, {cores()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    print("| on | rule | devices | slice | s a round | training | updates/s | MiB | card MiB |")
    print("|---|---|---|---|---|---|---|---|---|")
    fresh = processes()
    for size in args.slices:
        for n in args.devices:
            for rule in args.rules:
                for on in here:
                    with fresh.Pool(1) as pool:
                        run = settings(rule, n, size, on, args.steps, args.items)
                        found = pool.apply(cost, (run, args.rounds))
                    columns = (
                        *(on, rule, f"{n:,}", f"{size:,}", f"{found.round:.3f}"),
                        *(f"{found.training / found.round:.0%}", f"{n / found.round:,.0f}"),
                        *(f"{found.mib:,.0f}", f"{found.card_mib:,.0f}"),
                    )
                    print("| " + " | ".join(columns) + " |", flush=True)


if __name__ == "__main__":
    main()
