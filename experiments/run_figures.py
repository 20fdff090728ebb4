"""The pictures of a run's page, from its ``metrics.jsonl`` and ``audit.jsonl``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from common.tasks import ACCURACY
from experiments.report.drawing.colours import COLOURS
from experiments.report.drawing.frame import frame, literal
from experiments.run_files import of_training

IDLE = "#c3c8cf"
"""Nothing is wrong with a device that has nothing to do: no colour of warning."""


REFUSALS = ("#e0803a", "#d2544f", "#c75590", "#a3963a", "#8d72d6")


IDLE_LABEL = "idle: no next item in the slice"


VERDICTS = {
    "admitted": COLOURS[0],
    IDLE_LABEL: IDLE,
    "clipped: quota": "#2fa08f",
    "clipped: history": "#2fa08f",
}


BINS = 40


HEIGHT = 360


def figures(
    metrics: Sequence[Mapping[str, Any]],
    audit: Iterable[Mapping[str, Any]],
    malicious: frozenset[int] | None = None,
) -> dict[str, go.Figure]:
    """Title -> figure, of all that the lines of a run give; ``audit`` is read once, line by line.

    malicious: numbers of the malicious devices, where they are known.
    """
    rounds = [line for line in metrics if "split" not in line]
    verdicts, shares = read_audit(audit, malicious)
    found = {
        **{f"{one.layout.yaxis.title.text} by round": one for one in learning(metrics)},
        "Seconds a round": seconds(rounds),
        "Devices by verdict": devices(verdicts),
        "Weight of admitted devices": weights(shares),
    }
    return {title: one for title, one in found.items() if one.data}


def learning(metrics: Sequence[Mapping[str, Any]]) -> list[go.Figure]:
    """NDCG@10 and, where items are targeted, ER@10 over the rounds, by split."""
    found, again = [], any("recurring" in line for line in metrics)
    for name in ("ndcg@10", "er@10"):
        label = name.upper() + ", filtered" * (again and name in ACCURACY)
        figure = frame("round", label, HEIGHT)
        most = max((float(m[name]) for m in metrics if name in m), default=1.0)
        figure.update_yaxes(range=[0, min(1.0, 1.08 * most) or 1.0])  # a share has no more and no less
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


Shares = Mapping[str, Sequence[float]]
"""Whose devices -> the weight of each admitted one in each round, 1 for an equal share of the round."""


EVERYBODY, HONEST, MALICIOUS = "admitted", "honest", "malicious"


def read_audit(
    audit: Iterable[Mapping[str, Any]], malicious: frozenset[int] | None = None
) -> tuple[Verdicts, Shares]:
    """Counts by verdict and reason, and each admitted device's weight times the number admitted with it.

    A reply refused as a whole counts once, under its own label. Evaluations are left out.
    """
    verdicts: Verdicts = defaultdict(Counter)
    weight: dict[int, list[tuple[str, float]]] = defaultdict(list)
    for line in of_training(audit):
        label = ": ".join(filter(None, (line["verdict"], line["reason"])))
        if line["reason"] == "idle":  # which was a refusal in older audits
            label = IDLE_LABEL
        if line["device"] is None:
            label += " (whole reply)"
        verdicts[label][line["round"]] += 1
        if line.get("weight") is not None:
            whose = EVERYBODY
            if malicious is not None:
                whose = MALICIOUS if line["device"] in malicious else HONEST
            weight[line["round"]].append((whose, float(line["weight"])))
    shares: dict[str, list[float]] = defaultdict(list)
    for all_ in weight.values():
        for whose, one in all_:
            shares[whose].append(len(all_) * one)
    return dict(verdicts), dict(sorted(shares.items()))


def devices(verdicts: Verdicts) -> go.Figure:
    """Stacked counts by round; admitted at the bottom."""
    figure = frame("round", "devices", HEIGHT)
    refused = sorted(label for label in verdicts if label not in VERDICTS)
    colours = VERDICTS | {label: REFUSALS[i % len(REFUSALS)] for i, label in enumerate(refused)}
    for label in [label for label in colours if label in verdicts]:
        count = verdicts[label]
        x = sorted(count)
        marker = {"color": colours[label], "line": {"width": 0}}
        figure.add_bar(x=x, y=[count[r] for r in x], name=literal(label), marker=marker)
    return figure.update_layout(barmode="stack", bargap=0, showlegend=True)


def weights(shares: Shares) -> go.Figure:
    """Histograms of weight relative to an equal share (1), of honest and malicious devices where known.

    Each is a share of its own group, so that few malicious devices are seen beside many honest ones.
    """
    figure = frame("weight, 1 = an equal share of its round", "share of these devices", HEIGHT)
    every = [one for found in shares.values() for one in found]
    if not every:
        return figure
    top = max(2.0, float(np.quantile(every, 0.999)))
    for whose, found in shares.items():
        count, edges = np.histogram(np.clip(found, 0, top), BINS, (0, top))
        centre = (edges[1:] + edges[:-1]) / 2
        marker = {"color": COLOURS[1] if whose == MALICIOUS else COLOURS[0], "line": {"width": 0}}
        y = (count / len(found)).tolist()
        figure.add_bar(
            x=centre.tolist(), y=y, name=whose, marker=marker, width=0.95 * top / BINS, opacity=0.7
        )
    figure.update_xaxes(range=[0, top])
    return figure.update_layout(barmode="overlay", showlegend=len(shares) > 1)
