"""What a rule costs the server: one round of 512 devices, from the bytes on the wire to the next model.

``python -m benchmarks.server_time [--rules mean sieve sieve+none] [--devices 512]
[--repeats 5]``; a rule has its own constraints, or
those after a ``+``. Timed are admission (decoding, checks),
aggregation, constraints and server step of a round of ML-100K's shape (SASRec, slice 512 of 1,682 items,
d = 64), replies of eight nodes. The rules take turns in one process; the ratio to the first one is of the
same turn. Updates are drawn, not trained: Gaussian encoders, and rows as a softmax makes them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import torch

from common.config import RunConfig
from common.models import initial
from common.seeding import generator
from common.settings import component
from common.settings import load as load_settings
from common.updates import DeviceUpdates
from common.wire import UpdateSpec, encode_updates
from common.wire.replies import Reply
from server.round.admission import admit
from server.round.pipeline import Pipeline

ITEMS, NODES = 1682, 8


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", nargs="+", default=["mean", "sieve", "sieve+none"])
    parser.add_argument("--devices", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args(arguments)
    base = load_settings(overrides=[f"train.devices_per_round={args.devices}"])
    replies, spec = wire(base, args.devices)
    seconds: dict[str, list[float]] = {rule: [] for rule in args.rules}
    for _ in range(args.repeats):
        for rule in args.rules:
            seconds[rule].append(one_round(configured(base, rule), replies, spec))
    first = seconds[args.rules[0]]
    print(f"{args.devices} devices, {torch.get_num_threads()} threads, {args.repeats} turns\n")
    print(f"| rule | seconds | of {args.rules[0]}'s | smallest to largest |\n|---|---|---|---|")
    for rule, found in seconds.items():
        ratios = [a / b for a, b in zip(found, first, strict=True)]
        ends = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"| {rule} | {statistics.median(found):.3f} | {statistics.median(ratios):.2f} | {ends} |")


def configured(base: RunConfig, rule: str) -> RunConfig:
    name, *constraints = rule.split("+")
    named = tuple(component(part) for part in constraints if part != "none")
    parts = {"aggregator": component(name), "constraints": named if constraints else "auto"}
    return base.model_copy(update={"strategy": base.strategy.model_copy(update=parts)})


def one_round(config: RunConfig, replies: Sequence[Reply], spec: UpdateSpec) -> float:
    """Seconds from replies to the next state; building the pipeline does not count."""
    pipeline = Pipeline.build(config, ITEMS)
    state = pipeline.init()
    clock = time.perf_counter()
    admitted = admit(replies, spec, config.strategy.max_history)
    pipeline.step(state, admitted, 1)
    return time.perf_counter() - clock


def wire(config: RunConfig, devices: int) -> tuple[list[Reply], UpdateSpec]:
    """The replies of the round, encoded, and what the server expects of them."""
    width, dim = len(initial(config.model, ITEMS, generator(0, "model"))[0].encoder), config.model.dim
    draw = generator(0, "server time")
    items = torch.randperm(ITEMS, generator=draw)[: config.train.slice_size].sort().values.int() + 1
    numbers = torch.arange(devices).tensor_split(NODES)
    spec = UpdateSpec("run", 1, width, dim, items, ITEMS, numbers[0])
    replies = [
        Reply(node, own, encode_updates(drawn(own, width, items, dim, draw), "run", 1, config.wire.dtype))
        for node, own in enumerate(numbers, start=1)
    ]
    return replies, spec


def drawn(
    numbers: torch.Tensor, width: int, items: torch.Tensor, dim: int, draw: torch.Generator
) -> DeviceUpdates:
    """Devices that pull a tenth of the rows towards their own taste, and push the others a little away."""
    n, rows = len(numbers), len(items)
    taste = torch.nn.functional.normalize(torch.randn(n, 1, dim, generator=draw), dim=2)  # [n, 1, d]
    held = torch.rand(n, rows, 1, generator=draw) < 0.1
    size = torch.where(held, 1.0, -0.02) * (0.5 + torch.rand(n, rows, 1, generator=draw))  # [n, K, 1]
    encoder = torch.randn(n, width, generator=draw)
    return DeviceUpdates(encoder, size * taste, items, torch.full((n,), 60, dtype=torch.int32), numbers)


if __name__ == "__main__":
    main()
