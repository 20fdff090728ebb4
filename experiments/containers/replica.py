"""``node`` and ``malicious``: a replica claims a shard and serves it, warm or with Flower's own program."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout
from rich.console import Console

from common.errors import RunError
from experiments.containers.places import FLEET_HOST, FLEET_PORT, Places, ending
from experiments.containers.superlink import program, supervise
from experiments.identity import make_node_key

LARGEST = 1000

NodeConfig = dict[str, bool | int | float | str]
LOOK_S = 0.3
PUBLIC = re.compile(r'"public_message": "([^"]*)"')
READY = Path("/tmp/ready")  # this container's own  # nosec B108
SUPERLINK = f"{FLEET_HOST}:{FLEET_PORT}"


class Slots:
    """Numbered locks in a folder that all replicas of a service share.

    A claim is a lock for the life of the process: two replicas never hold one number, and the kernel frees
    that of a killed one at once. A file beside the lock says who held it last, so that a replica that is
    restarted gets its number back. All is done under one more lock, so that a look at the claims cannot be
    taken for a claim.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, BaseFileLock] = {}

    def claim(self, holder: str, among: Collection[int] | None = None) -> int | None:
        """Take a free number: the one that ``holder`` had, else the lowest; None when none is free.

        ``among`` limits the choice. Raises RunError for a folder that cannot be written.
        """
        wanted = range(LARGEST) if among is None else sorted(among)
        with self._alone():
            mine = [n for n in wanted if self._last(n) == holder]
            for number in [*mine, *(n for n in wanted if n not in mine)]:
                if number in self._held or (lock := self._lock(number)) is None:
                    continue
                self._holder(number).write_text(holder, encoding="utf-8")
                self._held[number] = lock
                return number
        return None

    def release(self, number: int) -> None:
        """Give a number back."""
        self._held.pop(number).release()

    def taken(self) -> list[int]:
        """Numbers that are held now, by any process."""
        found = []
        with self._alone():
            for path in sorted(self._folder.glob("[0-9]*.lock")):
                if (lock := self._lock(int(path.stem))) is None:
                    found.append(int(path.stem))
                else:
                    lock.release()
        return found

    def _lock(self, number: int) -> BaseFileLock | None:
        lock = FileLock(self._folder / f"{number:03d}.lock", mode=0o600)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return None
        return lock

    def _holder(self, number: int) -> Path:
        return self._folder / f"{number:03d}"

    def _last(self, number: int) -> str:
        with suppress(FileNotFoundError):
            return self._holder(number).read_text(encoding="utf-8", errors="replace")
        return ""

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._folder / "lock", mode=0o600).acquire()
        except OSError as error:
            raise RunError(f"{self._folder}: cannot claim a shard: {error.strerror}") from error
        with lock:
            yield


def serve_replica(side: str, places: Places, console: Console, stock: bool = False) -> int:
    """Serve one shard of ``side`` until the run is over; the exit status.

    A replica more than there are shards waits for one whose holder died, and takes it over.
    """
    stop = ending(places.over)
    slots = Slots(places.side(side) / "slots")
    slot = claim(slots, places, side)
    if not stock:
        from client.node import load_app

        load_app("client.app" if side == "honest" else "attacks.app", "app")  # while the others start
    plan = _plan(places.plan(side), stop)
    while slot not in plan and not stop.is_set():
        slots.release(slot)
        slot = _spare(slots, plan, console, stop)
    if stop.is_set():
        return 0
    config, key = plan[slot], key_file(places, side, slot)
    console.print(f"shard {slot}: {_devices(config)} devices", highlight=False)
    return (_stock if stock else _warm)(places, config, key, stop, console)


def claim(slots: Slots, places: Places, side: str) -> int:
    """Take a slot, and make its key. Nothing slow is imported before: ``run`` counts the claims."""
    slot = slots.claim(socket.gethostname())
    assert slot is not None, "there are more slots than containers"
    make_node_key(key_file(places, side, slot))
    return slot


def key_file(places: Places, side: str, slot: int) -> Path:
    """The private key of a slot; its public key lies beside it as ``.pub``."""
    return places.side(side) / "keys" / f"{slot:03d}"


def _plan(file: Path, stop: threading.Event) -> dict[int, NodeConfig]:
    """Slot -> node config, once the run is prepared; empty when it ends before."""
    while not stop.wait(LOOK_S):
        if file.exists():
            return {int(slot): config for slot, config in json.loads(file.read_bytes()).items()}
    return {}


def _spare(slots: Slots, plan: dict[int, NodeConfig], console: Console, stop: threading.Event) -> int:
    console.print("no shard is left for this replica; it waits in case another one dies")
    while not stop.wait(LOOK_S):
        if (slot := slots.claim(socket.gethostname(), list(plan))) is not None:
            return slot
    return -1


def _devices(config: NodeConfig) -> int:
    from attacks.app import node_settings
    from client.fleet import open_fleet

    return len(open_fleet(node_settings(config)).numbers)


def _warm(places: Places, config: NodeConfig, key: Path, stop: threading.Event, console: Console) -> int:
    from client.node import load_app, load_keys
    from common.logs import json_logs, plain_logs
    from emulation.federation import app_of
    from transport.link import Pulse
    from transport.serving import run_node

    if not json_logs("node"):
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        plain_logs()
    logging.getLogger("flwr").setLevel(logging.WARNING)
    logging.getLogger("flwr").addFilter(brief)
    certificate, keys = places.certificate.read_bytes(), load_keys(key)
    run_node(load_app(*app_of(config)), SUPERLINK, config, certificate, keys, stop, pulse=Pulse(READY))
    return 0


def brief(record: logging.LogRecord) -> bool:
    """Of a failed call's many lines, which Flower logs, only what the SuperLink said; for logging filters."""
    found = PUBLIC.search(record.getMessage())
    if found:
        record.msg, record.args = f"the SuperLink says: {found[1]}", ()
        record.exc_info = record.exc_text = None
    return True


def _stock(places: Places, config: NodeConfig, key: Path, stop: threading.Event, console: Console) -> int:
    from experiments.flower_config import argument

    command = [program("flower-supernode"), "--superlink", SUPERLINK]
    command += ["--root-certificates", str(places.certificate), "--auth-supernode-private-key", str(key)]
    command += ["--clientappio-api-address", "127.0.0.1:9094", "--node-config", argument(config)]
    READY.touch()  # it has a shard; whether Flower's program is connected, only Flower knows
    return supervise(command, stop, lambda line: console.print(line, markup=False, soft_wrap=True))
