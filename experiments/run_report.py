"""``report.html`` of one run: a page that needs no network, in the reader's light or dark."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from common.errors import RunError
from experiments.report import pages
from experiments.report.drawing import COLOURS, frame
from experiments.run_files import json_lines, of_training, ranked
from server.records.checkpoint import write_atomically

METRICS = ("hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")
FACTS = {
    "data": "Data",
    "model": "Model",
    "aggregator": "Aggregator",
    "attack": "Attack",
    "malicious_share": "Malicious share",
    "targets": "Target items",
    "seed": "Seed",
    "rounds": "Rounds",
    "seconds": "Seconds",
    "seconds_evaluation": "of them evaluation",
    "device_updates_per_second": "Device updates a second",
    "bytes_up": "Bytes up",
    "bytes_down": "Bytes down",
    "peak_rss_mb": "Peak memory, MiB",
    "evaluated_devices": "Devices evaluated",
    "test_randomised_devices": "of them by randomised response",
    "test_widened": "so many times as wide that makes an interval of HR@10",
}
BINS = 40
HEIGHT = 360
PlainTable = tuple[Sequence[str], Sequence[Sequence[str]]]
"""The head, and the rows."""


def write_report(folder: Path) -> Path:
    """Read ``summary.json``, ``metrics.jsonl`` and ``audit.jsonl`` of a run; write ``report.html`` there.

    Raises RunError when the folder holds no finished run or one of its files is damaged.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        metrics = list(json_lines(folder / "metrics.jsonl"))
        drawn = figures(metrics, json_lines(folder / "audit.jsonl"))
    except OSError as error:
        raise RunError(f"no finished run in {folder}: {error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder} holds damaged results: {error!r}") from error
    path = folder / "report.html"
    write_atomically(path, page(summary, drawn).encode("utf-8"))
    return path


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
        title=f"{summary['model']} on {summary['data']}, {summary['aggregator']}",
        protocol=summary["protocol"],
        metrics=metric_table(summary),
        exposure=exposure,
        by_target=by_target,
        figures=views,
        facts=[(label, _show(summary[key])) for key, label in FACTS.items() if key in summary],
    )


def metric_table(summary: Mapping[str, Any]) -> PlainTable:
    """Test metrics over all devices and by quartile of history length; validation beside them."""
    groups = {
        **dict(ranked(summary, "test")),
        **{f"test {q}": m for q, m in summary.get("quartiles", {}).items()},
    }
    if beside := summary.get("test_over_nodes"):
        groups["test, median node"] = beside["median"]
        groups["test, trimmed mean of nodes"] = beside["trimmed_mean"]
    groups |= {label.replace("valid", "validation", 1): found for label, found in ranked(summary, "valid")}
    rows = [(name, *(f"{found[m]:.4f}" for m in METRICS)) for name, found in groups.items() if found]
    return ("", *(m.upper() for m in METRICS)), rows


def exposure_tables(summary: Mapping[str, Any]) -> tuple[PlainTable | None, PlainTable | None]:
    """How often the targets reach the lists of users who do not have them: the mean, then, of several
    targets, ER of each; None without."""
    if "er@10" not in summary:
        return None, None
    rows = [(f"@{k}", *(f"{summary[f'{name}@{k}']:.4f}" for name in ("er", "t_ndcg"))) for k in (5, 10, 20)]
    mean = ("", "ER", "T-NDCG"), rows
    each = summary.get("exposure_by_target", {})
    if len(each) < 2:
        return mean, None
    names = [f"er@{k}" for k in (5, 10, 20)]
    lines = [(f"item {item}", *(f"{of[name]:.4f}" for name in names)) for item, of in each.items()]
    return mean, (("", *(name.upper() for name in names)), lines)


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def figures(metrics: Sequence[Mapping[str, Any]], audit: Iterable[Mapping[str, Any]]) -> dict[str, go.Figure]:
    """Title -> figure, of all that the lines of a run give; ``audit`` is read once, line by line."""
    rounds = [line for line in metrics if "split" not in line]
    verdicts, shares = read_audit(audit)
    found = {
        **{f"{one.layout.yaxis.title.text} by round": one for one in learning(metrics)},
        "Seconds a round": seconds(rounds),
        "Devices by verdict": devices(verdicts),
        "Weight of admitted devices": weights(shares),
    }
    return {title: one for title, one in found.items() if one.data}


def learning(metrics: Sequence[Mapping[str, Any]]) -> list[go.Figure]:
    """NDCG@10 and, where items are targeted, ER@10 over the rounds, by split."""
    found = []
    for name in ("ndcg@10", "er@10"):
        figure = frame("round", name.upper(), HEIGHT).update_yaxes(rangemode="tozero")
        for colour, split in zip(COLOURS, ("valid", "test"), strict=False):
            points = [(m["round"], m[name]) for m in metrics if m.get("split") == split and name in m]
            if points:
                x, y = zip(*points, strict=True)
                figure.add_scatter(x=x, y=y, name=split, mode="lines+markers", line={"color": colour})
        found.append(figure)
    return found


def seconds(rounds: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Seconds a round took, and the part that went to sending, training and receiving."""
    figure = frame("round", "seconds", HEIGHT).update_yaxes(rangemode="tozero")
    for colour, (key, label) in zip(
        COLOURS, {"seconds": "whole round", "seconds_exchange": "exchange"}.items(), strict=False
    ):
        points = [(line["round"], line[key]) for line in rounds if key in line]
        if points:
            x, y = zip(*points, strict=True)
            figure.add_scatter(x=x, y=y, name=label, mode="lines", line={"color": colour, "width": 1.5})
    return figure


Verdicts = dict[str, Counter[int]]
"""What became of devices -> round -> how many."""


def read_audit(audit: Iterable[Mapping[str, Any]]) -> tuple[Verdicts, list[float]]:
    """Counts by verdict and reason, and each admitted device's weight times the number admitted with it.

    A reply refused as a whole counts once, under its own label. Evaluations are left out.
    """
    verdicts: Verdicts = defaultdict(Counter)
    weight: dict[int, list[float]] = defaultdict(list)
    for line in of_training(audit):
        label = ": ".join(filter(None, (line["verdict"], line["reason"])))
        if line["device"] is None:
            label += " (whole reply)"
        verdicts[label][line["round"]] += 1
        if line.get("weight") is not None:
            weight[line["round"]].append(float(line["weight"]))
    return dict(verdicts), [len(all_) * w for all_ in weight.values() for w in all_]


def devices(verdicts: Verdicts) -> go.Figure:
    """Stacked counts by round; admitted at the bottom."""
    figure = frame("round", "devices", HEIGHT)
    ordered = sorted(verdicts, key=lambda label: (label != "admitted", label))
    for number, label in enumerate(ordered):
        count = verdicts[label]
        x = sorted(count)
        marker = {"color": COLOURS[number % len(COLOURS)], "line": {"width": 0}}
        figure.add_bar(x=x, y=[count[r] for r in x], name=escape(label), marker=marker)
    return figure.update_layout(barmode="stack", bargap=0, showlegend=True)


def weights(shares: Sequence[float]) -> go.Figure:
    """Histogram of weight relative to an equal share (1)."""
    figure = frame("weight, 1 = an equal share of its round", "devices", HEIGHT)
    if shares:
        top = max(2.0, float(np.quantile(shares, 0.999)))
        count, edges = np.histogram(np.clip(shares, 0, top), BINS, (0, top))
        centre = (edges[1:] + edges[:-1]) / 2
        marker = {"color": COLOURS[0], "line": {"width": 0}}
        figure.add_bar(x=centre.tolist(), y=count.tolist(), marker=marker, width=0.95 * top / BINS)
    return figure
