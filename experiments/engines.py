"""A run on this machine with its report: in one process, or on Ray's workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from common.config import RunConfig
from common.errors import RunError
from common.extras import lacks
from common.settings import load
from emulation.federation import federate
from experiments.beside import add_beside, add_truth
from experiments.run_files import read_summary

P = ParamSpec("P")


def completed(out: Path, config: RunConfig | None = None) -> bool:
    """Add floors, names and ``report.html`` to a finished run; False where the extra ``report`` is missing.

    config: of a run over the network with the log that its starter has, in place of the server's, which has a
    catalogue alone; who is malicious is written down then, too. A server calls it without, by the name in
    ``FEDSIEVE_REPORT`` (server.app).
    """
    try:
        add_beside(out, config or load(out / "config.yaml"))
        if config is not None:
            add_truth(out, config)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{out} holds damaged results: {error!r}") from error
    try:
        from experiments.run_report import write_report
    except ImportError as error:  # a run without a report is whole
        if not lacks("report", error):
            raise
        return False
    write_report(out)
    return True


def reported(
    engine: Callable[Concatenate[RunConfig, Path, P], dict[str, Any]],
) -> Callable[Concatenate[RunConfig, Path, P], dict[str, Any]]:
    """``engine``, with floors and names in its summary, and ``report.html`` where that extra is installed."""

    def run(config: RunConfig, out: Path, /, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        engine(config, out, *args, **kwargs)
        completed(out)
        return read_summary(out)

    return run


emulate = reported(federate)
