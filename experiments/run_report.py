"""``report.html`` of one run: a page that needs no network, in the reader's light or dark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from common.errors import ConfigError, RunError
from common.settings import load
from experiments.beside import truth_of
from experiments.report import pages
from experiments.run_figures import figures
from experiments.run_files import json_lines, read_summary
from experiments.run_tables import (
    FACTS,
    beyond_table,
    exposure_tables,
    fact_text,
    floors_text,
    interval_text,
    item_table,
    metric_table,
    more_cuts_table,
)
from server.records.checkpoint import write_atomically


def write_report(folder: Path) -> Path:
    """Read ``summary.json``, ``metrics.jsonl`` and ``audit.jsonl`` of a run; write ``report.html`` there.

    Raises RunError when the folder holds no finished run, CheckpointError when one of its files is damaged.
    """
    try:
        summary = read_summary(folder)
        metrics = list(json_lines(folder / "metrics.jsonl"))
        drawn = figures(metrics, json_lines(folder / "audit.jsonl"), _malicious(folder))
    except OSError as error:
        raise RunError(f"no finished run in {folder}: {error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder} holds damaged results: {error!r}") from error
    path = folder / "report.html"
    write_atomically(path, page(summary, drawn).encode("utf-8"))
    return path


def _malicious(folder: Path) -> frozenset[int] | None:
    """The malicious devices, where they are known."""
    try:
        config = load(folder / "config.yaml")
    except ConfigError:
        return None
    return truth_of(folder, config)


def page(summary: Mapping[str, Any], drawn: Mapping[str, go.Figure]) -> str:
    """The whole page; ``drawn``: title -> figure."""
    charts: pages.Charts = {}
    views = [
        pages.figure(f"chart-{n}", title, "", {"": one}, "", charts)
        for n, (title, one) in enumerate(drawn.items())
    ]
    exposure, by_target = exposure_tables(summary)
    return pages.render(
        "run.html",
        charts,
        title=f"{summary['model']} on {summary['data']}, {summary['aggregator']}{_under(summary)}",
        protocol=summary["protocol"],
        metrics=metric_table(summary),
        sure=interval_text(summary),
        beyond=beyond_table(summary),
        groups=item_table(summary),
        more_cuts=more_cuts_table(summary),
        floors_on=floors_text(summary),
        exposure=exposure,
        by_target=by_target,
        figures=views,
        facts=[(label, fact_text(key, summary)) for key, label in FACTS.items() if key in summary],
    )


def _under(summary: Mapping[str, Any]) -> str:
    """The attack, for the end of the title."""
    attack = summary.get("attack", "none")
    return "" if attack == "none" else f" under {attack}"
