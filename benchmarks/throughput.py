"""Device updates per second: the cohort against a loop of nn.Module copies, and against a batch by hand.

All do the same work in this process, in turn, on the same devices: SASRec d = 64, L = 50, slice 512. The loop
is of 3 local steps and the batch by hand (:mod:`benchmarks.batched_step`) of one, from prepared windows.
``python -m benchmarks.throughput [--devices 128] [--repeats 5] [--threads N] [--batched 128 512]``
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.batched_step import batched_step
from client.cohort import Cohort
from common.config import ClientConfig, ModelConfig, TrainConfig
from common.models import build_model, initial, layout_of
from common.seeding import generator
from common.tasks import TrainTask
from server.round.drawing import draw_slice


def make_task(devices: int, items: int = 1682, slice_size: int = 512, steps: int = 3) -> Cohort:
    """Random histories of 51 items (every window is full: the slowest case)."""
    model_config = ModelConfig(dropout=0.0)
    model, _ = initial(model_config, items, generator(0, "model"))
    draw = generator(0, "benchmark")
    chosen, log_q = draw_slice(torch.zeros(items), slice_size, draw)
    task = TrainTask(
        run="benchmark",
        round=1,
        nonce="00",
        model=model,
        items=chosen,
        log_q=log_q,
        devices=torch.arange(devices),
        model_config=model_config,
        train_config=TrainConfig(local_steps=steps, local_lr=0.1, window="last"),
        client_config=ClientConfig(),
    )
    histories = [(torch.randperm(items, generator=draw)[:51] + 1).int().numpy() for _ in range(devices)]
    return Cohort(task, range(devices), histories, key=5)


def loop(cohort: Cohort) -> tuple[Tensor, Tensor]:
    """One module copy, one SGD and plain autograd a device."""
    task = cohort.task
    model = build_model(task.model_config)
    layout = layout_of(model)
    torch.nn.utils.vector_to_parameters(task.model.encoder, model.parameters())
    size = len(task.items)
    slots = torch.full((task.model.table.shape[0],), size)
    slots[task.items.long()] = torch.arange(size)
    start = task.model.table[task.items.long()]
    encoders, row_updates = [], []
    for window in cohort.windows:
        local, rows = copy.deepcopy(model), nn.Parameter(start.clone())
        optimizer = torch.optim.SGD([*local.parameters(), rows], lr=task.train_config.local_lr)
        items = torch.from_numpy(window.astype("int64"))
        inputs, target = items[:-1], slots[items[1:]]
        inside, padding = slots[inputs] < size, inputs == 0
        for _ in range(task.train_config.local_steps):
            own = rows[slots[inputs].clamp(max=size - 1)]
            x = torch.where(inside[:, None], own, task.model.table[inputs])  # [L, d]
            scores = local(x, padding) @ rows.T - task.log_q  # [L, K]
            counted = target < size
            loss = F.cross_entropy(scores[counted], target[counted], reduction="sum")
            optimizer.zero_grad()
            (loss / task.model_config.max_len).backward()
            optimizer.step()
        encoders.append(layout.flatten(dict(local.named_parameters())).detach() - task.model.encoder)
        row_updates.append(rows.detach() - start)
    return torch.stack(encoders), torch.stack(row_updates)


def step_against_hand(devices: int, repeats: int) -> tuple[float, float, list[float]]:
    """Largest difference of the two, device updates a second of the cohort, and its time over the batch's."""
    cohort = make_task(devices, steps=1)
    training, rows, encoder = cohort._training(), cohort.rows, cohort.task.model.encoder
    start = cohort.task.model.table[rows.items.long()]  # [K, d]
    chunks = [chunk for _, chunk in cohort._chunks(training, rows, None)]

    def seconds(step: Callable[..., tuple[Tensor, Tensor]]) -> float:
        began = time.perf_counter()
        for chunk in chunks:
            step(encoder, start, chunk, rows.log_q)
        return time.perf_counter() - began

    def by_hand(*given: Any) -> tuple[Tensor, Tensor]:
        return batched_step(training, *given)

    both = [step(encoder, start, chunks[0], rows.log_q) for step in (training.cohort, by_hand)]
    apart = max(float((one - other).abs().max()) for one, other in zip(*both, strict=True))
    taken = [(seconds(training.cohort), seconds(by_hand)) for _ in range(repeats)]
    rate = devices / statistics.median(mapped for mapped, _ in taken)
    return apart, rate, [mapped / hand for mapped, hand in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batched", nargs="*", type=int, default=[128, 512])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cohort = make_task(args.devices)
    print(
        f"{platform.machine()}, {args.threads} thread(s), torch {torch.__version__}, {args.devices} devices"
    )
    fast, slow = cohort.train(), loop(cohort)  # the first round of both warms up
    apart = max(float((fast.encoder - slow[0]).abs().max()), float((fast.rows - slow[1]).abs().max()))
    print(f"largest difference between the two: {apart:.1e}")
    seconds: dict[str, list[float]] = {"vmap": [], "loop": []}
    for _ in range(args.repeats):
        for name, work in (("vmap", cohort.train), ("loop", lambda: loop(cohort))):
            started = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - started)
    for name, taken in seconds.items():
        rate = args.devices / statistics.median(taken)
        spread = f"median of {args.repeats}, {min(taken):.2f}–{max(taken):.2f} s"
        print(f"{name}: {rate:7.0f} device updates/s ({spread})")
    ratios = [slow_s / fast_s for slow_s, fast_s in zip(seconds["loop"], seconds["vmap"], strict=True)]
    print(f"ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")
    for n in args.batched:
        apart, rate, ratios = step_against_hand(n, args.repeats)
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        print(
            f"one step of {n} devices, {rate:.0f} a second: {ratio} times a batch by hand, {apart:.1e} apart"
        )


if __name__ == "__main__":
    main()
