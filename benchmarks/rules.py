"""Seconds and memory of the aggregation rules, beside byzfl and Flower on the same dense updates.

``python -m benchmarks.rules [--devices 32 128 512] [--repeats 3]`` times, in turn and in one process on one
thread, the rules that others have too: seconds of that thread, which other processes do not change much.
byzfl takes part where it can be imported (``pip install --no-deps byzfl``: what it asks for pulls gigabytes);
a peer that would take more than ``--limit`` seconds, by its time at the last n, is left out.

``python -m benchmarks.rules --memory [--devices 512] [--rules NAME ...] [--encoder 53000]`` runs every rule
of the registry on a round of so many devices (512 rows of 64 beside the encoder) and prints its seconds and
its peak memory beyond the input, each in a process of its own.
"""

from __future__ import annotations

import argparse
import logging
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from rich.console import Console
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmarks.peers import Prepare, byzfl_rules, flower_rules
from common.settings import component
from common.tasks import GlobalModel
from common.updates import DeviceUpdates
from experiments.pool import processes
from server.aggregators import AGGREGATORS, Round, build_aggregator
from server.aggregators.gram import gram, middle, squared_distances
from server.aggregators.pre import with_pre

OURS = {
    "krum": ("krum", [], {"neighbours": "byzfl"}),
    "multi_krum": ("multi_krum", [], {"neighbours": "byzfl"}),
    "geometric_median": ("geometric_median", [], {}),
    "nnm + mean": ("mean", ["nnm"], {}),
    "centred_clipping": ("centred_clipping", [], {}),
    "median": ("median", [], {}),
    "trimmed_mean": ("trimmed_mean", [], {}),
}
"""Row of the table -> rule, pre-aggregators and parameters."""


def make(n: int, width: int, rows: int, dim: int = 64) -> DeviceUpdates:
    """n Gaussian updates around a common direction, as honest devices send them."""
    g = torch.Generator().manual_seed(0)
    encoder = torch.randn(n, width, generator=g).add_(torch.randn(width, generator=g), alpha=0.3)
    table = torch.randn(n, rows, dim, generator=g).add_(torch.randn(rows, dim, generator=g), alpha=0.3)
    return DeviceUpdates(
        encoder,
        table,
        torch.arange(1, rows + 1, dtype=torch.int32),
        torch.full((n,), 50, dtype=torch.int32),
        torch.arange(n),
    )


def ours(name: str, updates: DeviceUpdates, f: int, tau: float) -> Tensor:
    """One round of our rule -> [D]."""
    rule, pre, params = OURS[name]
    if name == "centred_clipping":
        params = {"tau": tau}
    built = with_pre(build_aggregator(component(rule, **params)), [component(p) for p in pre])
    result, _ = built(updates, built.init(), a_round(len(updates), f))
    return torch.cat([result.encoder, result.rows.flatten()])


def a_round(n: int, f: int) -> Round:
    return Round(f, tuple((i, i) for i in range(n)), torch.Generator().manual_seed(0))


def served(updates: DeviceUpdates, f: int) -> Round:
    """The round as the pipeline makes it, for rules that need the model or a root."""
    table = torch.randn(int(updates.items.max()) + 1, updates.rows.shape[2])
    model = GlobalModel(torch.zeros(updates.encoder.shape[1]), table)
    return replace(a_round(len(updates), f), model=model, root=updates.take(torch.arange(2)))


def seconds(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    clock = time.thread_time()
    result = run()
    return time.thread_time() - clock, result


class Slow:
    """Who would take too long: times grow with n² from the last n."""

    def __init__(self, limit: float) -> None:
        self.limit, self.last = limit, dict[tuple[str, str], tuple[int, float]]()

    def expected(self, peer: str, rule: str, n: int) -> float:
        before, spent = self.last.get((peer, rule), (n, 0.0))
        return spent * (n / before) ** 2


def compare(n: int, repeats: int, slow: Slow, only: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Rows of the table for n devices and about 300,000 coordinates; f = ⌊n/5⌋."""
    updates, f = make(n, 50_000, 3_906), n // 5
    flat = torch.cat([updates.encoder, updates.rows.flatten(1)], dim=1)  # [n, D]
    tau = float(middle(squared_distances(gram(updates))[0]).sqrt()) / 2
    others = {"byzfl": byzfl_rules(flat, f, tau), "Flower": flower_rules(flat, f)}
    for name in only:
        runs: dict[str, Prepare] = {"ours": lambda name=name: lambda: ours(name, updates, f, tau)}
        late = {peer: slow.expected(peer, name, n) for peer in others}
        runs |= {p: rules[name] for p, rules in others.items() if name in rules and late[p] <= slow.limit}
        times: dict[str, list[float]] = {key: [] for key in runs}
        last: dict[str, Tensor] = {}
        for _ in range(repeats):
            for key, prepare in list(runs.items()):
                try:
                    spent, last[key] = seconds(prepare())
                except RuntimeError as error:  # a peer that makes n − f copies of every update
                    if key == "ours" or "allocate memory" not in str(error):
                        raise
                    del runs[key], times[key]
                    continue
                times[key].append(spent)
        middle_of = {key: statistics.median(found) for key, found in times.items()}
        cells = [f"{middle_of['ours']:.3f}"]
        for peer in others:
            if peer in last:
                slow.last[peer, name] = n, middle_of[peer]
                gap = float((last[peer] - last["ours"]).abs().max())
                ratios = sorted(a / b for a, b in zip(times[peer], times["ours"], strict=True))
                ratio = statistics.median(ratios)
                spread = f"{ratio:.1f} x, {ratios[0]:.1f} to {ratios[-1]:.1f}"
                cells.append(f"{middle_of[peer]:.3f} ({spread}; differs {gap:.0e})")
            elif late[peer] > slow.limit:
                cells.append(f"left out: about {late[peer]:.0f}")
            else:
                cells.append("out of memory" if name in others[peer] else "–")
        yield (str(n), name, *cells)


def one_thread() -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)  # numpy's


def footprint(name: str, n: int, width: int) -> tuple[float, float, float]:
    """Seconds, peak MiB beyond the input of n updates, and MiB of those; for a fresh process."""
    one_thread()
    updates = make(n, width, 512)
    rule = build_aggregator(component(name))
    small = make(3, 10, 4)
    rule(small, rule.init(), served(small, 0))  # imports are not the rule's memory
    around = served(updates, n // 5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent, _ = seconds(lambda: rule(updates, rule.init(), around)[0].encoder)
    own = 4 * (updates.encoder.numel() + updates.rows.numel()) / (1 << 20)
    return spent, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", nargs="+", type=int, help="32 128 512, and 512 with --memory")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(OURS), default=list(OURS), metavar="ROW")
    parser.add_argument("--limit", type=float, default=90.0)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument(
        "--rules", nargs="+", choices=list(AGGREGATORS), default=list(AGGREGATORS), metavar="NAME"
    )
    parser.add_argument("--encoder", type=int, default=53_000)
    args = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    console = Console(width=200)
    if args.memory:
        console.print(
            "| devices | rule | seconds | MiB beyond the input | of the input |\n|---|---|---|---|---|"
        )
        with processes().Pool(1, maxtasksperchild=1) as pool:
            for n, name in ((n, name) for n in args.devices or [512] for name in args.rules):
                spent, extra, own = pool.apply(footprint, (name, n, args.encoder))
                console.print(f"| {n} | {name} | {spent:.2f} | {extra:.0f} | {extra / own:.2f} |")
        return
    console.print("| n | rule | ours, s | byzfl, s | Flower, s |\n|---|---|---|---|---|")
    one_thread()
    slow = Slow(args.limit)
    for n in args.devices or [32, 128, 512]:
        for row in compare(n, args.repeats, slow, args.only):
            console.print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
