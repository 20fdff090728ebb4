"""Users ranked a second over a whole catalogue, and the memory that takes.

SASRec d = 64, L = 50, geometric history lengths of mean 10, one target. The floor is one product of all users
and items, with nothing counted.
``python -m benchmarks.ranking [--items 2000 20000 200000] [--users 2048] [--device auto] [--threads N]``
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch

from client.batch import Histories
from client.ranking import evaluate
from client.tiles import Tiles
from common.config import ModelConfig
from common.data.ragged import Ragged
from common.device import resolve
from common.machine import peak_mib
from common.models import build_model, initial
from common.seeding import generator
from common.tasks import GlobalModel

CONFIG = ModelConfig(dropout=0.0)


def made_up(users: int, items: int) -> tuple[GlobalModel, Histories, np.ndarray]:
    """An untrained model, random histories and random answers [users]."""
    chance = np.random.default_rng(0)
    lengths = chance.geometric(0.1, users)
    histories = Ragged.split(chance.integers(1, items + 1, lengths.sum()).astype(np.int32), lengths)
    return initial(CONFIG, items, generator(0, "model"))[0], histories, chance.integers(1, items + 1, users)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of a call, until the device is done."""
    started = time.perf_counter() if device.type != "cpu" else time.process_time()
    work()
    if device.type == "cpu":
        return time.process_time() - started
    torch.cuda.synchronize(device)
    return time.perf_counter() - started


def product(model: GlobalModel, users: int) -> None:
    """users · (N + 1) scores, block by block, that nobody looks at."""
    tiles, hidden = Tiles.of(model), model.table.new_ones(users, model.table.shape[1])
    for rows in hidden.split(tiles.users):
        for block in model.table.split(tiles.width):
            rows @ block.T  # [users of a block, items of a block]


@torch.no_grad()
def measure(users: int, items: int, device: torch.device) -> tuple[float, float]:
    """Users a second of processor (of a card: of the clock), and the same of the product alone."""
    start, histories, answers = made_up(users, items)
    model = GlobalModel(start.encoder.to(device), start.table.to(device))
    encoder = build_model(CONFIG).eval().to(device)

    def rank(some: int) -> object:
        targets, quartiles = (items // 2,), (3, 7, 14)
        return evaluate(encoder, model, histories[:some], answers[:some], targets, quartiles, CONFIG.max_len)

    rank(min(users, 64))  # what the first call pays for
    product(model, min(users, 64))
    ranked, alone = (seconds(work, device) for work in (lambda: rank(users), lambda: product(model, users)))
    return users / ranked, users / alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[2_000, 20_000, 200_000])
    parser.add_argument("--users", type=int, default=2048)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = resolve(args.device)
    print(f"{platform.machine()}, {args.threads} thread(s), torch {torch.__version__}, on {device}\n")
    print("| items | users a second | the product alone | 100,000 users | peak MiB |\n|---|---|---|---|---|")
    for items in args.items:
        rate, floor = measure(args.users, items, device)
        print(f"| {items:,} | {rate:,.0f} | {floor:,.0f} | {1e5 / rate:.0f} s | {peak_mib():,.0f} |")


if __name__ == "__main__":
    main()
