"""``run``: count the containers, divide the devices, submit the run, follow it, and show its results."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from common.config import RunConfig
from common.data import Dataset, recent, write_shards
from common.data.cut import only
from common.data.shards import CATALOGUE
from common.errors import ConfigError, RunError
from common.logs import bare
from common.settings import Scalar
from emulation.federation import NodeConfig, attack_keys, measured, open_log, sides
from emulation.targets import with_targets
from experiments.containers.places import CONTROL_HOST, CONTROL_PORT, SIDES, Places, ending
from experiments.containers.prepare import wanted
from experiments.containers.replica import Slots, key_file
from experiments.containers.results import Node, show
from experiments.containers.superlink import program, supervise
from experiments.deployed import ATTACKING, stage
from experiments.flower_config import toml
from server.records.checkpoint import write_atomically
from transport.control import enrol

SETTLE_S, LIMIT_S = 3.0, 60.0
CONTROL = f"{CONTROL_HOST}:{CONTROL_PORT}"
CONNECTION = "compose"
WORTH = r"^(INFO\s*:\s*)?(aggregator \w|waiting for nodes|round \d+ )"
NEWS = re.compile(WORTH + r"|^(WARNING|ERROR)|^\s|^\w*Error|^Traceback")
"""Of Flower's own command line: failures, and no word of what goes well."""


@dataclass(frozen=True)
class Division:
    """A run as it is told to the server; side -> slot -> device numbers, and side -> slot -> node config."""

    config: RunConfig
    devices: Mapping[str, Mapping[int, Sequence[int]]]
    nodes: Mapping[str, Mapping[int, NodeConfig]]

    def publish(self, places: Places) -> None:
        """Tell the replicas what they serve; they connect at once."""
        for side in SIDES:
            write_atomically(places.plan(side), json.dumps(self.nodes[side]).encode())


def divide(config: RunConfig, data: Dataset, slots: Mapping[str, Sequence[int]], places: Places) -> Division:
    """Write one log for each claimed slot; the server gets the catalogue alone.

    The malicious devices are ``attack.share`` of all, drawn as an emulation draws them, whatever the number
    of containers. The quota is the largest log: a container that lies about its devices gains none.
    Without malicious containers nobody attacks. Raises ConfigError without honest containers, and for
    malicious ones that have no devices.
    """
    data = recent(data, config.data.max_length)
    config = with_targets(config, data)
    bad = bool(slots["malicious"]) and len(sides(config, data)[1]) > 0
    _possible(config, slots, bad)
    if not bad:
        config = config.model_copy(update={"attack": config.attack.model_copy(update={"name": "none"})})
    rows = dict(zip(SIDES, sides(config, data), strict=True))
    devices: dict[str, dict[int, list[int]]] = {}
    nodes: dict[str, dict[int, NodeConfig]] = {}
    token = secrets.token_hex(4)
    for side in SIDES:
        own, count = only(data, rows[side]), len(slots[side])
        extra = attack_keys(config) if side == "malicious" and bad else measured(config)
        logs = _logs(own, count, places.side(side) / "logs", token)
        nodes[side] = {n: {"path": str(log), **extra} for n, log in zip(slots[side], logs, strict=True)}
        devices[side] = {n: own.devices[k::count].tolist() for k, n in enumerate(slots[side])}
    shutil.copy(places.side("honest") / "logs" / token / CATALOGUE, places.public / CATALOGUE)
    largest = max(len(own) for one in devices.values() for own in one.values())
    strategy = {
        "wait_nodes": sum(map(len, slots.values())),
        "wait_s": max(180.0, config.strategy.wait_s),
        "quota": min(config.strategy.quota or largest, largest),
    }
    told = {
        "data": config.data.model_copy(update={"path": str(places.public / CATALOGUE)}),
        "strategy": config.strategy.model_copy(update=strategy),
    }
    return Division(config.model_copy(update=told), devices, nodes)


def _possible(config: RunConfig, slots: Mapping[str, Sequence[int]], bad: bool) -> None:
    if not slots["honest"]:
        raise ConfigError("no honest container: start some with --scale node=N")
    if slots["malicious"] and not bad:
        raise ConfigError(
            f"{len(slots['malicious'])} malicious container(s), but ATTACK={config.attack.name} and "
            f"MALICIOUS_SHARE={config.attack.share:g} leave them no devices; use --scale malicious=0"
        )


def _logs(data: Dataset, count: int, folder: Path, token: str) -> list[Path]:
    """A log a slot in a new folder; those of earlier runs go."""
    shutil.rmtree(folder, ignore_errors=True)
    return write_shards(data, count, folder / token) if count else []


def conduct(places: Places, console: Console) -> int:
    """One run from start to end; the exit status. Whatever happens, the other containers then end."""
    stop = ending(places.over)
    try:
        return _conduct(places, console, stop)
    finally:
        write_atomically(places.over, b"")


def _conduct(places: Places, console: Console, stop: threading.Event) -> int:
    asked = wanted(os.environ)
    data = open_log(asked.config)
    slots = settled(places, stop)
    division = divide(asked.config, data, slots, places)
    counts = [sum(map(len, division.devices[side].values())) for side in SIDES]
    console.print(
        f"{len(slots['honest'])} honest containers with {counts[0]} devices, "
        f"{len(slots['malicious'])} malicious with {counts[1]} (attack: {division.config.attack.name})",
        highlight=False,
    )
    nodes = _enrol(places, division)
    division.publish(places)
    console.print(f"{len(nodes)} node keys enrolled; submitting the run", highlight=False)
    for earlier in places.results.iterdir():
        shutil.rmtree(earlier)
    out = places.results / asked.name
    submit(places, division, out, console, stop)
    if stop.is_set():
        return 130
    if not (out / "summary.json").exists():
        raise RunError(
            "the run did not complete; the lines above and `docker compose logs superlink` say why"
        )
    at_hand = division.config.model_copy(update={"data": asked.config.data})
    show(out, nodes, at_hand, data.name, console)
    return 0


def settled(places: Places, stop: threading.Event, settle_s: float = SETTLE_S) -> dict[str, list[int]]:
    """Side -> claimed slots, once none has come for ``settle_s`` seconds.

    Compose starts this container after all replicas, each of which claims its slot at once.
    Raises RunError when no honest replica comes within LIMIT_S.
    """
    claims = {side: Slots(places.side(side) / "slots") for side in SIDES}
    began = changed = time.monotonic()
    found: dict[str, list[int]] = {}
    while not stop.is_set():
        now = {side: slots.taken() for side, slots in claims.items()}
        if now != found:
            found, changed = now, time.monotonic()
        if found["honest"] and time.monotonic() - changed >= settle_s:
            break
        if time.monotonic() - began > LIMIT_S:
            raise RunError(f"no honest container is there after {LIMIT_S:.0f} s (--scale node=N)")
        stop.wait(0.2)
    return found


def _enrol(places: Places, division: Division) -> list[Node]:
    files: dict[Path, Node] = {}
    for side in SIDES:
        for slot, devices in division.devices[side].items():
            files[key_file(places, side, slot).with_suffix(".pub")] = Node(side, slot, 0, devices)
    numbers = enrol(CONTROL, places.certificate.read_bytes(), list(files))
    return [Node(node.side, node.slot, numbers[file], node.devices) for file, node in files.items()]


def submit(places: Places, division: Division, out: Path, console: Console, stop: threading.Event) -> None:
    """``flwr run --stream``, its lines that say how it goes passed on. Raises RunError when it fails."""
    from common.settings import to_flat

    flat: Mapping[str, Scalar] = {**to_flat(division.config, secret=True), "out": str(out), "resume": False}
    with tempfile.TemporaryDirectory(prefix="fedsieve-") as folder:
        home, settings = Path(os.environ.get("FLWR_HOME", folder)), Path(folder) / "run.toml"
        home.mkdir(parents=True, exist_ok=True)
        (home / "config.toml").write_text(
            f'[superlink.{CONNECTION}]\naddress = "{CONTROL}"\nroot-certificates = "{places.certificate}"\n'
        )
        settings.write_text(toml(flat), encoding="utf-8")
        app = stage(Path(folder) / "app", ATTACKING)
        command = [program("flwr"), "run", str(app), CONNECTION, "--stream", "--run-config", str(settings)]

        def tell(line: str) -> None:
            if NEWS.search(line):
                console.print(bare(line), markup=False, highlight=False, soft_wrap=True)

        status = supervise(command, stop, tell, WORTH, patience_s=1.0)
    if status:
        raise RunError(f"flwr run ended with status {status}")
