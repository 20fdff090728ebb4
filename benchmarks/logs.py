"""Seconds and memory to open a log: the first time, from its cache, and its first devices alone.

A synthetic log is written as one that a service would keep, its lines in no order of users; each opening is a
process of its own. ``python -m benchmarks.logs [--devices 100000] [--items 200000] [--interactions 1000000]
[--format csv|parquet] [--first 10000] [--rounds N] [--folder DIR]``. 100,000,000 interactions need 3 GB of
disk; of a log below 16 MiB there is no cache. With ``--rounds`` there is a ``fedsieve run`` on it as well.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from common.data import load

PIECE = 5_000_000
"""Lines that are written at once."""

OPEN = """
import json, resource, sys, time
import numpy, polars
from common.data import load
began = time.perf_counter()
log = load("", sys.argv[1], devices=int(sys.argv[2]))
used = resource.getrusage(resource.RUSAGE_SELF)
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps([len(log), int(log.sequences.lengths.sum()), time.perf_counter() - began,
                  used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 2**20]))
"""


def write(path: Path, recipe: str) -> None:
    """Draw a log and write its lines in random order."""
    log = load("synthetic", recipe)
    assert log.times is not None
    order = np.random.default_rng(1).permutation(len(log.sequences.values)).astype(np.int32)
    users = np.repeat(log.devices.astype(np.int32), log.sequences.lengths)
    tables = (
        pl.DataFrame(
            {
                "user": users[some],
                "item": log.sequences.values[some],
                "time": log.times.values[some].astype(np.int64),
            }
        )
        for some in (order[at : at + PIECE] for at in range(0, len(order), PIECE))
    )
    if path.suffix == ".parquet":
        pl.concat(tables).write_parquet(path)
    else:
        with path.open("wb") as file:
            for number, table in enumerate(tables):
                file.write(table.write_csv(include_header=not number).encode())


def opened(path: Path, devices: int = 0) -> tuple[int, int, float, float, float]:
    """Devices, interactions, seconds, seconds of processor, and peak MiB of a process that opens ``path``."""
    command = [sys.executable, "-c", OPEN, str(path), str(devices)]
    told = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    count, interactions, seconds, cpu, peak = json.loads(told.stdout)
    return count, interactions, seconds, cpu, peak


def trained(path: Path, rounds: int) -> str:
    """What ``fedsieve run`` takes from the command to its last line, and what of it is evaluation."""
    out = path.parent / "run"
    settings = [f"data.path={path}", f"train.rounds={rounds}", "eval.every=0"]
    command = [sys.executable, "-m", "experiments.cli", "run", "--out", str(out)]
    began = time.perf_counter()
    subprocess.run(
        [*command, *(word for setting in settings for word in ("--set", setting))],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    whole = time.perf_counter() - began
    found = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return (
        f"fedsieve run, {rounds} rounds: {whole:.0f} s, {found['seconds_evaluation']:.0f} of them evaluation "
        f"(all devices, validation and test); peak {found['peak_rss_mb']:,.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=10_000)
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv")
    parser.add_argument("--rounds", type=int, default=0, help="of a run on the log; 0: none")
    parser.add_argument("--folder", type=Path, help="where there is room; the usual place of temporary files")
    args = parser.parse_args()
    recipe = f"devices={args.devices},items={args.items},interactions={args.interactions}"
    with tempfile.TemporaryDirectory(prefix="fedsieve-logs-", dir=args.folder) as made:
        path, began = Path(made) / f"log.{args.format}", time.perf_counter()
        # In a process of its own: a child's peak is never less than what its parent held.
        writer = multiprocessing.get_context("spawn").Process(target=write, args=(path, recipe))
        writer.start()
        writer.join()
        if writer.exitcode:
            sys.exit(f"{path} was not written")
        size = path.stat().st_size
        taken = time.perf_counter() - began
        print(f"{platform.machine()}, {os.cpu_count()} core(s), polars {pl.__version__}; {recipe}")
        print(f"drawn and written in {taken:.0f} s: {size / 2**20:,.0f} MiB of {args.format}\n")
        print("| opened | devices | interactions | s | s of processor | peak MiB |")
        print("|---|---|---|---|---|---|")
        for label, devices in (("first time", 0), ("from the cache", 0), ("first devices", args.first)):
            count, interactions, seconds, cpu, peak = opened(path, devices)
            print(
                f"| {label} | {count:,} | {interactions:,} | {seconds:.1f} | {cpu:.1f} | {peak:,.0f} |",
                flush=True,
            )
        if args.rounds:
            print(f"\n{trained(path, args.rounds)}")


if __name__ == "__main__":
    main()
