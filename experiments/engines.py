"""A run on this machine with its report: in one process, or on Ray's workers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.extras import lacks
from emulation.federation import NodeConfig, federate
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
    _report(out)
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
    _report(out)
    return summary


def _report(out: Path) -> None:
    """Write ``report.html`` where the extra ``report`` is installed: a run without it is whole."""
    try:
        from experiments.run_report import write_report
    except ImportError as error:
        if not lacks("report", error):
            raise
    else:
        write_report(out)
