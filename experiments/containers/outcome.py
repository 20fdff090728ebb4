"""What a run of containers ended with: its results, and how far each container was trusted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.lines import json_lines, of_training
from experiments.run_report import write_report
from experiments.tables import summary_table
from server.records.checkpoint import write_atomically


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

    @property
    def mean_weight(self) -> float:
        return self.weight / self.admitted if self.admitted else 0.0


def trust(audit: Iterable[Mapping[str, Any]]) -> dict[int, Trust]:
    """Node -> what became of its updates. Weights of a round add up to 1 over its devices."""
    found: dict[int, Trust] = {}
    for line in of_training(audit):
        one = found.setdefault(int(line["node"]), Trust())
        if line["verdict"] == "refused":
            one.refused += 1
        else:
            one.admitted += 1
            one.weight += float(line.get("weight", 0.0))
    return found


def show(out: Path, nodes: Sequence[Node], data: str, console: Console) -> None:
    """Write ``containers.json`` and the report, and print the results."""
    write_atomically(out / "containers.json", json.dumps([asdict(node) for node in nodes]).encode())
    write_report(out)
    summary = json.loads((out / "summary.json").read_text())
    console.print(summary_table({**summary, "data": data}))
    show_trust(nodes, trust(json_lines(out / "audit.jsonl")), console)
    seconds = [line["seconds"] for line in json_lines(out / "metrics.jsonl") if "seconds" in line]
    console.print(f"{summary['rounds']} rounds, {median(seconds):.2f} s each (median)", highlight=False)


def show_trust(nodes: Sequence[Node], found: Mapping[int, Trust], console: Console) -> None:
    """A line a container: what the audit holds, and its mean weight beside that of the honest."""
    table = Table(title="Containers, by the audit", box=None)
    for name in ("container", "devices", "updates admitted", "refused", "weight, honest mean = 1"):
        table.add_column(name, justify="left" if name == "container" else "right")
    honest = [found[node.node].mean_weight for node in nodes if node.side == "honest" and node.node in found]
    unit = sum(honest) / len(honest) if honest else 0.0
    for node in nodes:
        one = found.get(node.node, Trust())
        relative = f"{one.mean_weight / unit:.2f}" if unit and one.admitted else "–"
        table.add_row(node.name, str(len(node.devices)), str(one.admitted), str(one.refused), relative)
    console.print(table)
