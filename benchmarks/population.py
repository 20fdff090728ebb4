"""What a round costs the server when devices and items grow: seconds and memory, training left out.

``python -m benchmarks.population [--rounds 6] [--devices 1000 100000 1000000] [--items 1000 100000 1000000]
[--set KEY=VALUE] [--quick]``: rounds of 256 devices on four nodes of an in-process grid, with the sieve,
``exposure_cap``, audit and metrics on disk. The nodes are stubs: they answer with bytes made beforehand, and
their time is not counted. What the server remembers of devices is filled before the first round: every
device was met, so that a long run is measured and not its beginning. Devices grow at the smallest number
of items, items at the smallest number of devices; each row is a process of its own.
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict

from common.config import RunConfig
from common.machine import cores, peak_mib
from common.models import initial
from common.seeding import generator
from common.settings import load
from common.tasks import Enrolment
from common.updates import DeviceUpdates
from common.wire import encode_enrolment, encode_updates
from common.wire.arrays import pack
from common.wire.salt import plain_size, salted, unsalted
from emulation.local_grid import LocalGrid
from experiments.pool import processes
from server.aggregators.memory import remembered
from server.aggregators.reputation import RECORD, Reputation
from server.constraints.panel import MEMORY
from server.records.outputs import RunFolder
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState
from server.strategy import RobustStrategy

NODES, ASKED, SLICE = 4, 256, 512
DEVICES, ITEMS = (1_000, 100_000, 1_000_000), (1_000, 100_000, 1_000_000)
QUICK = ((200, 2_000), (600, 6_000))
SETTINGS = (
    "strategy.constraints=[exposure_cap]",
    "checkpoint_every=0",
    "eval.every=0",
    "strategy.secret=x",
)


@dataclass(frozen=True)
class Cost:
    """Seconds of a round (medians: of the processor, of the clock), of enrolment; MiB then, and the most."""

    round: float
    clock: float
    enrolment: float
    before: float
    peak: float


@dataclass(frozen=True)
class Seconds:
    """Of the processor, which other processes do not change much, and of the clock."""

    own: float
    clock: float

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.own + other.own, self.clock + other.clock)

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.own - other.own, self.clock - other.clock)


def spent() -> Seconds:
    return Seconds(time.process_time(), time.perf_counter())


@dataclass
class Stub:
    """The app of every node: enrols its share of ``devices``, and answers with rows of one reply."""

    devices: int
    width: int
    dim: int
    seconds: Seconds = field(default_factory=lambda: Seconds(0.0, 0.0))
    _made: dict[str, Array] = field(default_factory=dict)

    def __call__(self, message: Message, context: Context) -> Message:
        clock = spent()
        if message.metadata.message_type == MessageType.QUERY:
            content = self.enrolment(context.node_id)
        elif message.metadata.message_type == MessageType.TRAIN:
            content = self.updates(message.content)
        else:
            content = RecordDict()
        reply = Message(content, reply_to=message)
        self.seconds += spent() - clock
        return reply

    def enrolment(self, node: int) -> RecordDict:
        """Every fourth device."""
        mine = torch.arange(node - 1, self.devices, NODES)
        return encode_enrolment(Enrolment(mine, 20 + (mine % 50).int()))

    def updates(self, task: RecordDict) -> RecordDict:
        """As many rows of the reply made at first as devices were asked."""
        meta, arrays = task["meta"], task["arrays"]
        assert isinstance(meta, ConfigRecord)
        assert isinstance(arrays, ArrayRecord)
        items, asked = arrays["items"], arrays["devices"]
        if not self._made:
            self._made = self.reply(items.shape[0])
        own = {name: first(array, asked.shape[0]) for name, array in self._made.items()}
        header = {name: meta[name] for name in ("version", "unique", "run", "round")}
        told = ConfigRecord({"kind": "updates", "dtype": "float16", **header})
        return RecordDict(
            {
                "meta": told,
                "arrays": ArrayRecord(
                    own | {"device": asked, "idle": pack(torch.zeros(0), "int64"), "items": items}
                ),
            }
        )

    def reply(self, size: int) -> dict[str, Array]:
        """Devices that pull a tenth of the rows towards their own taste and push the others a little."""
        draw, n = generator(0, "population"), ASKED
        taste = torch.nn.functional.normalize(torch.randn(n, 1, self.dim, generator=draw), dim=2)  # [n, 1, d]
        held = torch.rand(n, size, 1, generator=draw) < 0.1
        length = torch.where(held, 1.0, -0.02) * (0.5 + torch.rand(n, size, 1, generator=draw))  # [n, K, 1]
        made = DeviceUpdates(
            torch.randn(n, self.width, generator=draw),
            length * taste,
            torch.arange(1, size + 1, dtype=torch.int32),
            torch.full((n,), 30, dtype=torch.int32),
            torch.arange(n),
        )
        arrays = encode_updates(made, "", 1)["arrays"]
        assert isinstance(arrays, ArrayRecord)
        return {name: arrays[name] for name in arrays if name not in ("device", "idle", "items")}


def first(array: Array, n: int) -> Array:
    """The first n rows."""
    size = plain_size(array.data) // array.shape[0]
    data = salted(unsalted(array.data, "|u1")[: n * size])
    return Array(dtype=array.dtype, shape=(n, *array.shape[1:]), stype=array.stype, data=data)


class Watch:
    """Seconds from report to report, less what the stubs took."""

    def __init__(self, stub: Stub) -> None:
        self.stub, self.seconds = stub, list[Seconds]()
        self._last = spent() - stub.seconds

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        here = spent() - self.stub.seconds
        self.seconds.append(here - self._last)
        self._last = here
        assert not report.skipped, report.why

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """There is none."""


def met_before(state: ServerState, devices: int, items: int) -> ServerState:
    """The state of a run in which every device took part: reputation and panel, each up to its bound."""
    number = torch.arange(devices)
    identity = torch.stack([number % NODES + 1, number], dim=1)
    known = remembered({}, identity, torch.zeros(devices, RECORD), 0, Reputation().capacity)
    most = max(1, MEMORY // items)
    marks = torch.zeros(min(most, devices), items, dtype=torch.int8)
    panel = remembered({}, identity[-most:], marks, 0, most)
    kept = {**state.constraints, **{f"0/{name}": value for name, value in panel.items()}}
    return replace(state, aggregator={**state.aggregator, **known}, constraints=kept)


def cost(config: RunConfig, devices: int, items: int) -> Cost:
    """One row of a table; for a fresh process."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    start, _ = initial(config.model, items, generator(0, "model"))
    stub = Stub(devices, len(start.encoder), config.model.dim)
    del start
    grid = LocalGrid(stub, [{} for _ in range(NODES)])
    watch = Watch(stub)
    with tempfile.TemporaryDirectory() as folder:
        records = RunFolder(Path(folder) / "run", config)
        strategy = RobustStrategy(config, items, [records, watch], "run", records.settled, records.audit)
        strategy.state = met_before(strategy.state, devices, items)
        began = spent() - stub.seconds
        strategy.wait_for_nodes(grid, NODES)
        enrolment, before = spent() - stub.seconds - began, peak_mib()
        records.create()
        try:
            strategy.start(grid)
        finally:
            records.close()
    rounds = watch.seconds[1:]  # the first one imports
    own, clock = statistics.median(s.own for s in rounds), statistics.median(s.clock for s in rounds)
    return Cost(own, clock, enrolment.own, before, peak_mib())


def table(config: RunConfig, axis: str, rows: Sequence[tuple[int, int]], apart: bool) -> None:
    """``apart``: a process for each row, so that a peak is its own."""
    print(f"\n| {axis} | s a round | of the first | by the clock | enrolment, s | MiB before | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    first = 0.0
    for devices, items in rows:
        if apart:
            with processes().Pool(1) as pool:
                now = pool.apply(cost, (config, devices, items))
        else:
            now = cost(config, devices, items)
        first = first or now.round
        cells = [
            f"{devices if axis == 'devices' else items:,}",
            f"{now.round:.3f}",
            f"{now.round / first:.2f}",
        ]
        cells += [f"{now.clock:.3f}", f"{now.enrolment:.2f}", f"{now.before:.0f}", f"{now.peak:.0f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--devices", nargs="+", type=int, default=list(DEVICES))
    parser.add_argument("--items", nargs="+", type=int, default=list(ITEMS))
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--quick", action="store_true", help="small numbers, for a test of this benchmark")
    args = parser.parse_args(arguments)
    devices, items = QUICK if args.quick else (args.devices, args.items)
    size = (
        f"train.devices_per_round={32 if args.quick else ASKED}",
        f"train.slice_size={64 if args.quick else SLICE}",
    )
    size += ("model.dim=8",) * args.quick
    config = load(overrides=[f"train.rounds={args.rounds}", *SETTINGS, *size, *args.set])
    print(
        f"{platform.processor() or platform.machine()}, {cores()} cores, torch {torch.__version__} ", end=""
    )
    print(f"({torch.get_num_threads()} threads); rounds of {config.train.devices_per_round} devices")
    table(config, "devices", [(n, items[0]) for n in devices], not args.quick)
    table(config, "items", [(devices[0], n) for n in items], not args.quick)


if __name__ == "__main__":
    main()
