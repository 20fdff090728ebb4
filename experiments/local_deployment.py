"""A real deployment on this machine: a SuperLink, node processes and a submitted run, all on 127.0.0.1."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flwr.app.user_config import UserConfigValue

from common.errors import RunError
from common.printable import printable_log
from emulation.federation import app_of
from experiments.flower_config import argument, toml
from experiments.processes import REPORT, Process, free_ports, import_path, listening, module, wait_until

BIN = Path(sys.executable).parent
SUPERLINK = tuple(module("transport.superlink"))
CONNECTION = "fedsieve-local"
START_S = 60.0


@dataclass(frozen=True)
class RunResult:
    """How a submitted run ended: Flower's status (``finished:completed``), its log, seconds in all."""

    status: str
    log: str
    seconds: float


class Deployment:
    """What :func:`deployment` yields. Everything it starts ends with the ``with`` block."""

    def __init__(
        self,
        folder: Path,
        stack: ExitStack,
        environment: Mapping[str, str],
        database: Path | None = None,
    ) -> None:
        self.folder, self._stack, self.database = folder, stack, database
        self.fleet, self.control, self.runtime = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.environment = {
            **os.environ,
            "FLWR_HOME": str(folder / "flwr"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            **import_path(),
            **REPORT,
            "PYTHONUNBUFFERED": "1",
            "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", "")]),
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        self.superlinks: list[Process] = []
        self._started: list[Process] = []
        self._number = 0

    def start(self, name: str, command: Sequence[str | Path], **environment: str) -> Process:
        """Start a process of this deployment, its output in ``folder/NAME.log``."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as out:
            popen = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**self.environment, **environment},
                cwd=self.folder,
                start_new_session=True,
            )
        process = Process(popen, log)
        self._stack.callback(process.stop)
        self._started.append(process)
        return process

    def end(self) -> None:
        """Ask all processes to end at once, so that waiting for each in turn takes no longer than one."""
        for process in self._started:
            process.ask()

    def superlink(self) -> Process:
        """Start the SuperLink and wait until it takes calls; :func:`deployment` has done it once."""
        addresses = ["--fleet-api-address", self.fleet, "--control-api-address", self.control]
        command: list[str | Path] = [*SUPERLINK, "--insecure", *addresses]
        command += ["--serverappio-api-address", self.runtime, "--disable-runtime-dependency-installation"]
        command += ["--database", self.database] if self.database else []
        process = self.start("superlink", command)
        for address in (self.fleet, self.control):
            wait_until(lambda a=address: listening(a), START_S, process)  # type: ignore[misc]
        self.superlinks.append(process)
        return process

    def warm_node(self, config: Mapping[str, UserConfigValue], app: str = "", **environment: str) -> Process:
        """Start ``python -m client.node`` with these settings, and with the app MODULE:NAME or its own."""
        app = app or ":".join(app_of(config))
        command = [*module("client.node"), "--insecure", "--superlink", self.fleet]
        command += ["--app", app, "--node-config", argument(config)]
        return self.start(self._name("node"), command, **environment)

    def stock_node(self, config: Mapping[str, UserConfigValue], **environment: str) -> Process:
        """Start Flower's own node, which runs the ClientApp of the submitted app folder."""
        command: list[str | Path] = [BIN / "flower-supernode", "--insecure", "--superlink", self.fleet]
        command += ["--clientappio-api-address", f"127.0.0.1:{free_ports(1)[0]}"]
        return self.start(self._name("node"), [*command, "--node-config", argument(config)], **environment)

    def submit(self, app: Path, config: Mapping[str, UserConfigValue] | None = None) -> Process:
        """``flwr run APP --stream``: the process ends when the run does, and its log is the run's.

        ``config`` overrides defaults of the app. It travels as a file: on a command line Flower's
        parser takes no text with both kinds of quotes.
        """
        name = self._name("run")
        command: list[str | Path] = [BIN / "flwr", "run", app, CONNECTION, "--stream"]
        if config:
            file = self.folder / f"{name}.toml"
            file.write_text(toml(config), encoding="utf-8")
            command += ["--run-config", file]
        return self.start(name, command)

    def wait(self, run: Process, timeout_s: float) -> RunResult:
        """Follow a submitted run to its end. Raises RunError with the logs when it takes too long."""
        started = time.monotonic()
        try:
            run.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise RunError(f"the run did not end within {timeout_s:.0f} s\n{self.logs()}") from None
        seconds = time.monotonic() - started
        found = re.search(r"started run (\d+)", run.text())
        if found is None:
            raise RunError(f"the run was not accepted\n{self.logs()}")
        command = [BIN / "flwr", "ls", CONNECTION, "--run-id", found[1], "--format", "json"]
        listing = self.start(self._name("list"), command)
        listing.popen.wait(START_S)
        status = re.search(r'"status":\s*("[^"]*")', listing.text())
        return RunResult(json.loads(status[1]) if status else "unknown", run.text(), seconds)

    def logs(self) -> str:
        """The tail of every log, for the text of a failure."""
        parts = []
        for path in sorted(self.folder.glob("*.log")):
            lines = path.read_bytes().decode("utf-8", "replace").split("\n")
            told = [line for line in lines if "PullMessages" not in line]  # five a second and node
            parts.append("\n".join([f"--- {path.name}", *map(printable_log, told[-60:])]))
        return "\n".join(parts)

    def _name(self, kind: str) -> str:
        self._number += 1
        return f"{kind}-{self._number}"


@contextmanager
def deployment(folder: Path, database: Path | None = None, **environment: str) -> Iterator[Deployment]:
    """A SuperLink with its home, logs and settings in ``folder``, all ended with the block.

    With a ``database`` it knows its nodes and runs again when it is started anew.
    """
    home = folder / "flwr"
    home.mkdir(parents=True)
    with ExitStack() as stack:
        made = Deployment(folder, stack, environment, database)
        text = f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
        (home / "config.toml").write_text(f'{text}address = "{made.control}"\ninsecure = true\n')
        made.superlink()
        try:
            yield made
        finally:
            made.end()
