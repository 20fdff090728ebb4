"""One SuperLink under load: many warm nodes on this machine, thousands of devices a round, real gRPC.

``python -m benchmarks.load [--nodes 64] [--devices 2000] [--rounds 5] [--set KEY=VALUE]``: SASRec d = 64,
slice 512 of 1,682 items, the sieve. Nodes are processes of their own, with their own identity and connection,
forked from one that has imported torch; with ``--separate`` each imports it, as on machines of their own.
Prints seconds a round, bytes, and memory: ``pss`` counts a page that n processes share as 1/n in each, so
that it adds up to what the machine gives.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from subprocess import TimeoutExpired
from typing import Any

from benchmarks.processes import Usage, sample
from benchmarks.soak import finished
from common.data import load as load_data
from common.errors import RunError
from common.settings import load
from experiments.deployed import plan, stage
from experiments.grpc_demo import ending_on_signals
from experiments.local_deployment import Deployment, deployment
from experiments.processes import wait_until
from experiments.run_files import json_lines

SETTINGS = ("data.name=synthetic", "strategy.aggregator=sieve", "strategy.deadline_s=300", "eval.every=0")
TOGETHER, START_S = 4, 180.0
LOOK_S = 4.0
"""Between two looks: the pss of 64 processes takes the kernel a while, which the run then lacks."""


@dataclass(frozen=True)
class Peak:
    """The most that each kind of process used, MiB; nodes are added up."""

    superlink: float = 0.0
    serverapp: float = 0.0
    nodes: float = 0.0
    node_rss: float = 0.0
    count: int = 0

    def seen(self, now: dict[str, Usage]) -> Peak:
        nodes = [usage for name, usage in now.items() if name.startswith("node ")]
        return Peak(
            max(self.superlink, now["superlink"].rss if "superlink" in now else 0.0),
            max(self.serverapp, now["serverapp"].rss if "serverapp" in now else 0.0),
            max(self.nodes, sum(usage.pss for usage in nodes)),
            max([self.node_rss, *(usage.rss for usage in nodes)]),
            max(self.count, len(nodes)),
        )


def start_nodes(local: Deployment, configs: Sequence[dict[str, Any]], separate: bool) -> None:
    """Return once all are connected: forked from one import, or TOGETHER at a time each with its own."""
    if not separate:
        file = local.folder / "nodes.json"
        file.write_text(json.dumps(configs))
        made = local.start("nodes", [sys.executable, "-m", "benchmarks.nodes", local.fleet, file])
        wait_until(lambda: made.text().count("is connected") == len(configs), START_S, made)
        return
    for first in range(0, len(configs), TOGETHER):
        for node in [local.warm_node(config) for config in configs[first : first + TOGETHER]]:
            wait_until(lambda node=node: "is connected" in node.text(), START_S, node)  # type: ignore[misc]


def run_load(args: argparse.Namespace, out: Path) -> Peak:
    """Start all, run, and watch. Raises RunError if the run fails."""
    overrides = [*SETTINGS, f"train.rounds={args.rounds}", f"train.devices_per_round={args.devices}"]
    log = f"devices={max(args.population, args.devices)},items=1682,length=40"
    data = load_data("synthetic", log)
    config = load(None, [*overrides, f"data.path='{log}'", "strategy.wait_s=300", *args.set])
    peak = Peak()
    with ending_on_signals(), tempfile.TemporaryDirectory(prefix="fedsieve-load-") as made:
        folder = Path(made)
        run = plan(config, data, args.nodes, 0, folder / "logs")
        with deployment(folder / "run") as local:
            began = time.monotonic()
            start_nodes(local, [dict(node) for node in run.nodes], args.separate)
            peak = peak.seen(sample(parts=True))
            print(
                f"{peak.count} warm nodes connected after {time.monotonic() - began:.0f} s, "
                f"{peak.nodes / args.nodes:.0f} MiB each (pss) before the run",
                flush=True,
            )
            submitted = local.submit(stage(folder / "app"), run.run_config(out))
            end = time.monotonic() + args.limit
            while submitted.popen.poll() is None:
                peak = peak.seen(sample(parts=True))
                if time.monotonic() > end:
                    raise RunError(
                        f"round {finished(out)} of {args.rounds} after {args.limit:.0f} s\n{local.logs()}"
                    )
                with suppress(TimeoutExpired):
                    submitted.popen.wait(LOOK_S)
            if not (out / "summary.json").exists():
                raise RunError(f"the run did not complete\n{local.logs()}")
    return peak


def report(out: Path, peak: Peak) -> list[str]:
    """What it cost, from the run's own lines and the processes."""
    told = [line for line in json_lines(out / "metrics.jsonl") if "seconds" in line]
    later = told[1:] or told  # the first round compiles and fills caches

    def middle(name: str) -> float:
        return median(line[name] for line in later)

    return [
        f"{len(told)} rounds, {middle('nodes_asked'):.0f} nodes and {middle('asked'):.0f} devices asked, "
        f"{min(line['admitted'] for line in told):.0f} or more admitted",
        f"seconds a round: median {middle('seconds'):.1f}, first {told[0]['seconds']:.1f} (exchange "
        f"{middle('seconds_exchange'):.1f}, admission {middle('seconds_admission'):.2f}, "
        f"rule and step {middle('seconds_aggregate'):.2f})",
        f"MB a round: down {middle('bytes_down') / 1e6:.1f}, up {middle('bytes_up') / 1e6:.1f}",
        f"peak MiB: superlink {peak.superlink:.0f}, serverapp {peak.serverapp:.0f} (rss); {peak.count} nodes "
        f"{peak.nodes:.0f} together (pss), the largest {peak.node_rss:.0f} (rss)",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--devices", type=int, default=2000, help="asked in a round")
    parser.add_argument("--population", type=int, default=4000, help="devices there are")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--separate", action="store_true", help="each node imports for itself (17 GiB for 64)"
    )
    parser.add_argument("--limit", type=float, default=900.0, help="seconds for the run")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="fedsieve-load-") as made:
        out = Path(made) / "out"
        peak = run_load(args, out)
        print("\n".join(report(out, peak)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
