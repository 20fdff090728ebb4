"""Does anything grow? Hundreds of rounds over real gRPC, every process watched; status 1 if one is not flat.

``python -m benchmarks.soak [--rounds 500] [--nodes 8] [--every 5] [--tolerance 0.05]``: a SuperLink, warm
nodes and a run on the synthetic log, all processes on 127.0.0.1. Memory is flat when its mean over the last
fifth of the rounds is within the tolerance of that over the second fifth; threads, but for ``--slack``, when
the last fifth sees no more of them than the three before it; files, when no more stay open in the last fifth
than in the second.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from benchmarks.processes import Sample, courses, sample
from common.data import load as load_data
from common.errors import RunError
from common.settings import load
from experiments.deployed import plan, stage
from experiments.grpc_demo import ending_on_signals
from experiments.local_deployment import deployment
from experiments.run_files import json_lines

SMALL = (
    "data.name=synthetic",
    "model.dim=8",
    "model.max_len=12",
    "model.blocks=1",
    "train.devices_per_round=32",
    "train.slice_size=60",
    "strategy.aggregator=sieve",
    "strategy.deadline_s=20",
    "eval.every=100",
    "checkpoint_every=50",
)
LOOK_S = 0.1


def soak(rounds: int, nodes: int, every: int, out: Path, limit_s: float) -> tuple[list[Sample], float]:
    """A sample each ``every`` rounds, and the seconds of a round (median). RunError if the run fails."""
    data = load_data("synthetic", "")
    samples: list[Sample] = []
    with ending_on_signals(), tempfile.TemporaryDirectory(prefix="fedsieve-soak-") as made:
        folder = Path(made)
        run = plan(load(None, [*SMALL, f"train.rounds={rounds}"]), data, nodes, 0, folder / "logs")
        with deployment(folder / "run") as local:
            for node in run.nodes:
                local.warm_node(node)
            submitted = local.submit(stage(folder / "app"), run.run_config(out))
            end = time.monotonic() + limit_s
            while submitted.popen.poll() is None:
                done = finished(out)
                if done >= (samples[-1][0] if samples else 0) + every:
                    samples.append((done, sample()))
                if time.monotonic() > end:
                    raise RunError(f"round {done} of {rounds} after {limit_s:.0f} s\n{local.logs()}")
                time.sleep(LOOK_S)
            if not (out / "summary.json").exists():
                raise RunError(f"the run did not complete\n{local.logs()}")
    seconds = [line["seconds"] for line in json_lines(out / "metrics.jsonl") if "seconds" in line]
    return samples, median(seconds)


def finished(out: Path) -> int:
    """How many rounds have ended: lines about training, and not about an evaluation."""
    file = out / "metrics.jsonl"
    return file.read_bytes().count(b'"skipped"') if file.exists() else 0


def table(samples: Sequence[Sample], rounds: int) -> list[str]:
    """A line a process: memory early and late, its growth, threads and files."""
    lines = ["process        MiB early     late   growth    threads      files"]
    for one in courses(samples, rounds):
        lines.append(
            f"{one.name:<14} {one.rss[0]:9.1f} {one.rss[1]:8.1f} {one.growth:+8.2%}"
            f"   {one.threads[0]:3d} -> {one.threads[1]:3d}   {one.files[0]:3d} -> {one.files[1]:3d}"
        )
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--every", type=int, default=5, help="rounds between two samples")
    parser.add_argument("--tolerance", type=float, default=0.05, help="of memory, as a share")
    parser.add_argument("--slack", type=int, default=1, help="threads more at the end that are forgiven")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for all of it")
    parser.add_argument("--samples", type=Path, metavar="FILE", help="write every sample there, as JSON")
    args = parser.parse_args(argv)
    if args.rounds < 5 * args.every:
        parser.error("--rounds: expected at least five times --every")
    with tempfile.TemporaryDirectory(prefix="fedsieve-soak-") as made:
        samples, seconds = soak(args.rounds, args.nodes, args.every, Path(made) / "out", args.limit)
    if args.samples:
        seen = [
            {"round": done, **{name: asdict(used) for name, used in now.items()}} for done, now in samples
        ]
        args.samples.write_text(json.dumps(seen))
    print(f"{args.rounds} rounds with {args.nodes} warm nodes, {seconds:.2f} s each (median)")
    print("\n".join(table(samples, args.rounds)))
    found = courses(samples, args.rounds)
    troubles = [text for one in found for text in one.troubles(args.tolerance, args.slack)]
    missing = {"superlink", "serverapp", *(f"node {i + 1}" for i in range(args.nodes))} - {
        c.name for c in found
    }
    troubles += [f"{name}: not seen in both windows" for name in sorted(missing)]
    print("\n".join(troubles) if troubles else "flat: memory, threads and open files of every process")
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main())
