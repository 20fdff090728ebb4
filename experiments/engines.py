"""A run on this machine with its report: in one process, or on Ray's workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from common.config import RunConfig
from common.extras import lacks
from emulation.federation import federate

P = ParamSpec("P")


def reported(
    engine: Callable[Concatenate[RunConfig, Path, P], dict[str, Any]],
) -> Callable[Concatenate[RunConfig, Path, P], dict[str, Any]]:
    """``engine``, which writes ``report.html`` beside its files where the extra ``report`` is installed."""

    def run(config: RunConfig, out: Path, /, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        summary = engine(config, out, *args, **kwargs)
        try:
            from experiments.run_report import write_report
        except ImportError as error:  # a run without a report is whole
            if not lacks("report", error):
                raise
        else:
            write_report(out)
        return summary

    return run


emulate = reported(federate)
