"""``fedsieve grpc-demo``: one run over real gRPC, every party a process of its own on this machine."""

from __future__ import annotations

import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from common.config import RunConfig
from common.errors import RunError
from common.printable import counted, printable, printable_log
from common.settings import load
from emulation.federation import open_log
from experiments.deployed import ATTACKING, plan, stage
from experiments.engines import completed
from experiments.local_deployment import Deployment, deployment
from experiments.processes import Process
from experiments.run_files import json_lines, printed, read_summary
from server.records.begun import in_vain

LIMIT_S = 900.0
ROUNDS = {"warm": 40, "stock": 4}
WORTH = re.compile(r"^(INFO\s*:\s*)?(aggregator \w|waiting for nodes|round \d+ |finished: )|WARNING|ERROR")


def show(
    out: Path,
    honest: int = 3,
    malicious: int = 1,
    stock: bool = False,
    overrides: Sequence[str] = (),
) -> None:
    """Split the data, start a SuperLink and the nodes, submit the run, follow it, and print its result.

    Whatever happens, no process outlives the call. Raises RunError, with the tail of every log, when
    the run does not complete.
    """
    console = Console()

    def tell(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    kind = "stock" if stock else "warm"
    config = load(None, [*_defaults(ROUNDS[kind]), *overrides])
    if (out / "config.yaml").exists() and not in_vain(out):
        raise RunError(f"{out} already holds a run; choose another --out")
    with ending_on_signals(), tempfile.TemporaryDirectory(prefix="fedsieve-") as made:
        folder = Path(made)
        data = open_log(config)
        run = plan(config, data, honest, malicious, folder / "logs")
        console.print(
            f"{counted(len(data), 'device')} of {printable(data.name)}: {honest} honest and "
            f"{counted(malicious, 'malicious node')}",
            markup=False,
        )
        with deployment(folder / "run") as local:
            start = local.stock_node if stock else local.warm_node
            nodes = [start(node) for node in run.nodes]
            connecting = counted(len(nodes), f"{kind} node")
            console.print(f"SuperLink at {local.fleet}, {connecting}; submitting the run")
            submitted = local.submit(stage(folder / "app", ATTACKING), run.run_config(out))
            follow(local, submitted, nodes, tell)
            result = local.wait(submitted, 5.0)
            if result.status != "finished:completed" or not (out / "summary.json").exists():
                raise RunError(f"the run ended as {result.status}\n{local.logs()}")
        # The server has the catalogue alone; the log is here.
        paged = completed(out, run.config.model_copy(update={"data": config.data}))
        _report(out, run.config, data.name, console, paged)


def _defaults(rounds: int) -> list[str]:
    """What the demo sets before ``--set``: short, attacked, and robust."""
    chosen = {
        "train.rounds": rounds,
        "train.devices_per_round": 128,
        "strategy.aggregator": "sieve",
        "attack.name": "explicit_boost",
    }
    return [f"{key}={value}" for key, value in {**chosen, "eval.every": 20}.items()]


def follow(local: Deployment, run: Process, nodes: Sequence[Process], tell: Callable[[str], None]) -> None:
    """Tell the lines of the run's log that say how it goes, until it ends.

    Raises RunError when a node ends meanwhile, or the run takes longer than LIMIT_S.
    """
    end, told = time.monotonic() + LIMIT_S, 0
    while True:
        over = run.popen.poll() is not None
        lines = run.text().split("\n")
        if not over:
            lines.pop()  # not ended yet
        for line in lines[told:]:
            text = printable_log(line.rstrip())
            if WORTH.search(text):
                tell(text)
        told = len(lines)
        if over:
            return
        if dead := [node for node in nodes if node.popen.poll() is not None]:
            raise RunError(f"{dead[0].log.stem} ended during the run\n{local.logs()}")
        if time.monotonic() > end:
            raise RunError(f"the run did not end within {LIMIT_S:.0f} s\n{local.logs()}")
        time.sleep(0.2)


def _report(out: Path, config: RunConfig, name: str, console: Console, paged: bool) -> None:
    summary = read_summary(out)
    seconds = sorted(line["seconds"] for line in json_lines(out / "metrics.jsonl") if "seconds" in line)
    console.print(printed({**summary, "data": name}))
    files = f"{'report.html, ' * paged}summary.json, metrics.jsonl, audit.jsonl, model.safetensors"
    rounds = counted(config.train.rounds, "round")
    console.print(
        f"{rounds} over gRPC, {seconds[len(seconds) // 2]:.2f} s each (median). Results in {out}/ ({files})",
        soft_wrap=True,
    )


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """Signals end the block as Ctrl-C does, so that what it started is stopped; SIGINT also where a script's
    ``&`` had it ignored."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
