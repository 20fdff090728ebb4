"""The results of a run of containers: shown by ``run``, brought to the host's ``./runs/`` by ``results``."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from common.config import RunConfig
from common.errors import RunError
from common.printable import counted
from experiments.containers.places import Places
from experiments.engines import completed
from experiments.run_files import json_lines, of_training, printed, read_summary
from server.records.checkpoint import write_atomically
from server.records.holding import LOCK, fresh


@dataclass(frozen=True)
class Node:
    """One container: its side and slot, its number at the SuperLink, and its devices."""

    side: str
    slot: int
    node: int
    devices: Sequence[int]

    @property
    def name(self) -> str:
        return f"{self.side} {self.slot}"


@dataclass
class Trust:
    """What the audit says of one node: device updates by verdict, and the weights of those admitted."""

    admitted: int = 0
    refused: int = 0
    weight: float = 0.0
    idle: int = 0

    @property
    def mean_weight(self) -> float:
        return self.weight / self.admitted if self.admitted else 0.0


def trust(audit: Iterable[Mapping[str, Any]]) -> dict[int, Trust]:
    """Node -> what became of its updates. Weights of a round add up to 1 over its devices."""
    found: dict[int, Trust] = {}
    for line in of_training(audit):
        one = found.setdefault(int(line["node"]), Trust())
        if "idle" in (line["verdict"], line.get("reason")):  # which was a refusal in older audits
            one.idle += 1
        elif line["verdict"] == "refused":
            one.refused += 1
        else:
            one.admitted += 1
            one.weight += float(line.get("weight") or 0.0)
    return found


def show(out: Path, nodes: Sequence[Node], config: RunConfig, data: str, console: Console) -> None:
    """Write ``containers.json`` and the report, and print the results; ``config`` has the log itself."""
    write_atomically(out / "containers.json", json.dumps([asdict(node) for node in nodes]).encode())
    completed(out, config)
    summary = read_summary(out)
    console.print(printed({**summary, "data": data}))
    show_trust(nodes, trust(json_lines(out / "audit.jsonl")), console)
    seconds = [line["seconds"] for line in json_lines(out / "metrics.jsonl") if "seconds" in line]
    rounds = counted(summary["rounds"], "round")
    console.print(f"{rounds}, {median(seconds):.2f} s each (median)", highlight=False)


def show_trust(nodes: Sequence[Node], found: Mapping[int, Trust], console: Console) -> None:
    """A line a container: what the audit holds, and its mean weight beside that of the honest."""
    table = Table(title="Containers, by the audit", box=None)
    for name in ("container", "devices", "updates admitted", "idle", "refused", "weight, honest mean = 1"):
        table.add_column(name, justify="left" if name == "container" else "right")
    honest = [found[node.node].mean_weight for node in nodes if node.side == "honest" and node.node in found]
    unit = sum(honest) / len(honest) if honest else 0.0
    for node in nodes:
        one = found.get(node.node, Trust())
        relative = f"{one.mean_weight / unit:.2f}" if unit and one.admitted else "–"
        table.add_row(
            node.name, str(len(node.devices)), str(one.admitted), str(one.idle), str(one.refused), relative
        )
    console.print(table)


def deliver(places: Places, console: Console) -> None:
    """Copy each run of the volume, under a new name where one is taken. Raises RunError."""
    become_owner(places.runs)
    found = sorted(path for path in places.results.iterdir() if path.is_dir())
    if not found:
        raise RunError("there are no results yet")
    for made in found:
        home = fresh(places.runs, made.name)
        bring(made, home)
        files = sorted(path.name for path in home.iterdir() if path.is_file())
        console.print(f"runs/{home.name}/: {', '.join(files)}", highlight=False, soft_wrap=True)


def become_owner(folder: Path) -> None:
    """From root without capabilities to the owner of ``folder``, whoever that is on the host.

    A folder that is root's, as Docker makes one that is missing, leaves root without capabilities; a
    process that is not root stays who it is.
    """
    if os.getuid() == 0:
        owner = folder.stat()
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def bring(made: Path, home: Path) -> None:
    """Copy all but the checkpoint and the lock; owners and modes are those of this process. Raises RunError.

    A run that has ended needs no checkpoint, whose key of the server is for its owner alone.
    """
    try:
        for folder, below, files in os.walk(made):
            if "state" in below:
                below.remove("state")
            to = home / Path(folder).relative_to(made)
            to.mkdir(parents=True)
            for file in set(files) - {LOCK}:
                shutil.copyfile(Path(folder) / file, to / file)
    except OSError as error:
        raise RunError(f"{error.filename}: {error.strerror}: may its owner write ./runs?") from error
