"""Seconds of a round here and in Flower's own simulation on Ray: the same local step of as many devices.

``python -m benchmarks.flower_simulation [--devices 64 256 512] [--rounds 3]``: SASRec (d = 64, L = 50, no
dropout), a slice of 512 of 1,682 items, one step of SGD on histories of 51 items. On Flower's side each
device is a client whose ClientApp trains a plain module on its own history, as one would write it, and FedAvg
takes the mean. Here it is the cohort's training and the mean, which end with the same model, and beside them
whole rounds of an embedded run on the same histories (``benchmarks.rounds``: with draw, wire, admission and
audit). All use all cores: Ray has one worker a core. The first round of each warms up. Needs Ray: pip install
'fedsieve[ray]'.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from benchmarks.rounds import cost
from benchmarks.throughput import loop, make_task
from client.cohort import Cohort
from common.machine import cores
from common.tasks import GlobalModel
from experiments.pool import processes
from transport.ray_runtime import backend, quiet

ITEMS = 1682
"""Items of the catalogue, as in MovieLens-100K."""


def one_device(cohort: Cohort, number: int, encoder: torch.Tensor, rows: torch.Tensor) -> list[torch.Tensor]:
    """The parameters of one device after its local step: encoder [P], rows of the slice [K, d]."""
    table = cohort.task.model.table.index_copy(0, cohort.task.items.long(), rows)  # [N + 1, d]
    own = cohort.take([number])
    own = replace(own, task=replace(own.task, model=GlobalModel(encoder, table)))
    change, row_change = loop(own)  # [1, P], [1, K, d]
    return [encoder + change[0], rows + row_change[0]]


@lru_cache(maxsize=1)
def devices_of(count: int) -> Cohort:
    """The devices of both sides: a worker makes them once, and no message carries them."""
    return make_task(count, ITEMS, steps=1)


def client_app(count: int) -> ClientApp:
    """A client stands for one device, whose number is its partition's."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        from benchmarks import flower_simulation as here  # the worker's own, whose devices it keeps

        torch.set_num_threads(1)
        encoder, rows = (torch.from_numpy(part) for part in message.content["arrays"].to_numpy_ndarrays())
        number = int(context.node_config["partition-id"])
        trained = here.one_device(here.devices_of(count), number, encoder, rows)
        reply = RecordDict(
            {
                "arrays": ArrayRecord([part.numpy() for part in trained]),
                "metrics": MetricRecord({"num-examples": 1}),
            }
        )
        return Message(reply, reply_to=message)

    return app


class Clocked(FedAvg):
    """FedAvg that keeps when each round began and ended."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.began: list[float] = []
        self.ended: list[float] = []

    def configure_train(self, *args: Any, **kwargs: Any) -> Any:
        self.began.append(time.perf_counter())
        return super().configure_train(*args, **kwargs)

    def aggregate_train(self, *args: Any, **kwargs: Any) -> Any:
        result = super().aggregate_train(*args, **kwargs)
        self.ended.append(time.perf_counter())
        return result


def theirs(cohort: Cohort, rounds: int) -> tuple[list[float], list[torch.Tensor]]:
    """Seconds of each round in Flower's simulation, and the model after the last."""
    from flwr.simulation import run_simulation

    devices = len(cohort.devices)
    strategy = Clocked(
        fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=devices, min_available_nodes=devices
    )
    model: list[torch.Tensor] = []
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        task = cohort.task
        start = ArrayRecord([task.model.encoder.numpy(), task.model.table[task.items.long()].numpy()])
        result = strategy.start(grid, start, num_rounds=rounds)
        model.extend(torch.from_numpy(part) for part in result.arrays.to_numpy_ndarrays())

    with quiet(), tempfile.TemporaryDirectory(prefix="ray-") as folder:
        run_simulation(app, client_app(devices), devices, backend_config=backend(folder))
    return [end - begin for begin, end in zip(strategy.began, strategy.ended, strict=True)], model


def ours(cohort: Cohort, rounds: int) -> tuple[list[float], list[torch.Tensor]]:
    """Seconds of each round of the cohort with the plain mean, and the model after the last."""
    seconds, task = [], cohort.task
    for _ in range(rounds):
        clock = time.perf_counter()
        updates = replace(cohort, task=task).train()
        encoder = task.model.encoder + updates.encoder.mean(0)
        table = task.model.table.index_add(0, task.items.long(), updates.rows.mean(0))
        task = replace(task, model=GlobalModel(encoder, table))
        seconds.append(time.perf_counter() - clock)
    return seconds, [task.model.encoder, task.model.table[task.items.long()]]


def both(devices: int, rounds: int) -> tuple[float, float, float]:
    """Seconds of a round here and in Flower's simulation, and the largest difference of the two models."""
    cohort = devices_of(devices)
    mine, model = ours(cohort, rounds + 1)
    flower, other = theirs(cohort, rounds + 1)
    apart = max(float((a - b).abs().max()) for a, b in zip(model, other, strict=True))
    return statistics.median(mine[1:]), statistics.median(flower[1:]), apart


def run_of(cohort: Cohort, folder: str) -> list[str]:
    """The settings of a run of the same step on the same histories, which a log in ``folder`` holds."""
    devices, log = len(cohort.devices), Path(folder) / "log.txt"
    rest = [(2 * n % ITEMS + 1, (2 * n + 1) % ITEMS + 1) for n in range(devices)]  # held out
    lines = (" ".join(map(str, (n, *cohort.sequences[n].tolist(), *rest[n]))) for n in range(devices))
    log.write_text("\n".join(lines) + "\n")
    return [
        *(f"data.path={log}", f"train.devices_per_round={devices}", "train.window=last", "model.dropout=0"),
        *(f"train.slice_size={len(cohort.task.items)}", "train.slice_power=0"),
        *("strategy.aggregator=mean", "checkpoint_every=0", "eval.every=0"),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--devices", nargs="+", type=int, default=[64, 256, 512])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(argv)
    if importlib.util.find_spec("ray") is None:
        print("NOT MEASURED: Ray is not installed (pip install 'fedsieve[ray]')", file=sys.stderr)
        sys.exit(2)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    print(f"{platform.machine()}, {cores()} cores, torch {torch.__version__}, {args.rounds} rounds each")
    print("| devices | Flower, s a round | here, whole | ratio | training and mean alone | ratio | apart |")
    print("|---|---|---|---|---|---|---|")
    fresh = processes()
    for devices in args.devices:  # Ray starts once a process
        with tempfile.TemporaryDirectory(prefix="log-") as folder, fresh.Pool(1) as pool:
            whole = pool.apply(cost, (run_of(devices_of(devices), folder), args.rounds)).round
        with fresh.Pool(1) as pool:
            alone, flower, apart = pool.apply(both, (devices, args.rounds))
        columns = (
            *(f"{devices:,}", f"{flower:.2f}", f"{whole:.3f}", f"{flower / whole:.1f}"),
            *(f"{alone:.3f}", f"{flower / alone:.1f}", f"{apart:.0e}"),
        )
        print("| " + " | ".join(columns) + " |", flush=True)


if __name__ == "__main__":
    main()
