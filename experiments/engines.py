"""A run on this machine with its report: in one process, or on Ray's workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.config import RunConfig
from emulation.federation import NodeConfig, federate
from experiments.run_report import write_report
from server.records.report import Listener


def emulate(
    config: RunConfig,
    out: Path,
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    nodes: Sequence[NodeConfig] | None = None,
) -> dict[str, Any]:
    """:func:`emulation.federation.federate`, and ``report.html`` beside its files."""
    summary = federate(config, out, resume, listeners, nodes)
    write_report(out)
    return summary


def simulate(
    config: RunConfig,
    out: Path,
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    honest: int = 0,
) -> dict[str, Any]:
    """:func:`emulation.simulation.simulate`, and ``report.html`` beside its files."""
    from emulation.simulation import simulate as on_ray

    summary = on_ray(config, out, resume, listeners, honest)
    write_report(out)
    return summary
