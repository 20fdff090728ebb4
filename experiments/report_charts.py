"""The charts of a run's report, each as a piece of HTML."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from experiments.report.look import COLOURS
from experiments.run_files import of_training

BINS = 40
CONFIG = {"displayModeBar": False, "responsive": True}


def charts(metrics: Sequence[Mapping[str, Any]], audit: Iterable[Mapping[str, Any]]) -> list[str]:
    """All charts that the lines of a run give; ``audit`` is read once, line by line.

    The first carries plotly.js, so that the page needs no network.
    """
    rounds = [line for line in metrics if "split" not in line]
    verdicts, shares = read_audit(audit)
    figures = [*learning(metrics), seconds(rounds), devices(verdicts), weights(shares)]
    present = [figure for figure in figures if figure.data]
    return [
        figure.to_html(full_html=False, include_plotlyjs=number == 0, config=CONFIG)
        for number, figure in enumerate(present)
    ]


def learning(metrics: Sequence[Mapping[str, Any]]) -> list[go.Figure]:
    """NDCG@10 and, where items are targeted, ER@10 over the rounds, by split."""
    found = []
    for name in ("ndcg@10", "er@10"):
        figure = _figure(f"{name.upper()} by round", name.upper())
        for colour, split in zip(COLOURS, ("valid", "test"), strict=False):
            points = [(m["round"], m[name]) for m in metrics if m.get("split") == split and name in m]
            if points:
                x, y = zip(*points, strict=True)
                figure.add_scatter(x=x, y=y, name=split, mode="lines+markers", line={"color": colour})
        figure.update_yaxes(rangemode="tozero")
        found.append(figure)
    return found


def seconds(rounds: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Seconds a round took, and the part that went to sending, training and receiving."""
    figure = _figure("Seconds a round", "seconds")
    for colour, (key, label) in zip(
        COLOURS, {"seconds": "whole round", "seconds_exchange": "exchange"}.items(), strict=False
    ):
        points = [(line["round"], line[key]) for line in rounds if key in line]
        if points:
            x, y = zip(*points, strict=True)
            figure.add_scatter(x=x, y=y, name=label, mode="lines", line={"color": colour, "width": 1.5})
    figure.update_yaxes(rangemode="tozero")
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
    figure = _figure("Devices by verdict", "devices")
    ordered = sorted(verdicts, key=lambda label: (label != "admitted", label))
    for number, label in enumerate(ordered):
        count = verdicts[label]
        x = sorted(count)
        colour = COLOURS[number % len(COLOURS)]
        figure.add_bar(
            x=x, y=[count[r] for r in x], name=label, marker={"color": colour, "line": {"width": 0}}
        )
    figure.update_layout(barmode="stack", bargap=0, showlegend=True)
    return figure


def weights(shares: Sequence[float]) -> go.Figure:
    """Histogram of weight relative to an equal share (1)."""
    figure = _figure("Weight of admitted devices", "devices", "weight, 1 = an equal share of its round")
    if shares:
        top = max(2.0, float(np.quantile(shares, 0.999)))
        count, edges = np.histogram(np.clip(shares, 0, top), BINS, (0, top))
        centre = (edges[1:] + edges[:-1]) / 2
        figure.add_bar(
            x=centre.tolist(),
            y=count.tolist(),
            marker={"color": COLOURS[0], "line": {"width": 0}},
            width=0.95 * top / BINS,
        )
    return figure


def _figure(title: str, y: str, x: str = "round") -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "font": {"size": 15}},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        height=340,
        margin={"l": 60, "r": 10, "t": 50, "b": 50},
        legend={"orientation": "h", "y": -0.22},
        font={"family": "system-ui, sans-serif"},
        xaxis={"title": {"text": x}},
        yaxis={"title": {"text": y}},
    )
    return figure
