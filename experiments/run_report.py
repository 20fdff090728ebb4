"""``report.html`` of one run: a page that needs no network, in the reader's light or dark."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from common.errors import ConfigError, RunError
from common.settings import load
from experiments.beside import truth_of
from experiments.report import pages
from experiments.report.drawing.colours import COLOURS
from experiments.report.drawing.frame import frame
from experiments.run_files import FLOORS, item_text, json_lines, of_training, ranked
from experiments.units import bytes_text, seconds_text
from server.records.checkpoint import write_atomically

METRICS = ("hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")
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
FACTS = {
    "data": "Data",
    "model": "Model",
    "aggregator": "Aggregator",
    "attack": "Attack",
    "malicious_share": "Malicious share",
    "targets": "Target items",
    "seed": "Seed",
    "rounds": "Rounds",
    "seconds": "Time",
    "seconds_evaluation": "of it evaluation",
    "device_updates_per_second": "Device updates a second",
    "bytes_up": "Sent by devices",
    "bytes_down": "Sent to devices",
    "peak_rss_mb": "Peak memory",
    "idle_share": "Idle device updates",
    "evaluated_devices": "Devices evaluated",
    "test_randomised_devices": "of them by randomised response",
    "test_widened": "so many times as wide that makes an interval of HR@10",
}
BINS = 40
UNITS: Mapping[str, Callable[[float], str]] = {
    "seconds": seconds_text,
    "seconds_evaluation": seconds_text,
    "bytes_up": bytes_text,
    "bytes_down": bytes_text,
    "peak_rss_mb": lambda mib: bytes_text(mib * 2**20),
    "idle_share": lambda share: f"{share:.0%} of those asked: no next item in the round's slice",
    "malicious_share": lambda share: f"{share:.0%}",
}
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
        floors_on=_floors_on(summary),
        exposure=exposure,
        by_target=by_target,
        figures=views,
        facts=[(label, _show(key, summary)) for key, label in FACTS.items() if key in summary],
    )


def _under(summary: Mapping[str, Any]) -> str:
    """The attack, for the end of the title."""
    attack = summary.get("attack", "none")
    return "" if attack == "none" else f" under {attack}"


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
    groups |= {FLOORS.get(name, name): found for name, found in summary.get("floors", {}).items()}
    rows = [(name, *(f"{found[m]:.4f}" for m in METRICS)) for name, found in groups.items() if found]
    return ("", *(m.upper() for m in METRICS)), rows


def interval_text(summary: Mapping[str, Any]) -> str:
    """The intervals over users in a sentence that says what they are of; empty without."""
    sure = summary.get("intervals")
    if not sure:
        return ""
    ends = (
        f"{name.upper()} {sure[name][0]:.4f} to {sure[name][1]:.4f}" for name in ("hr@10", "ndcg@10", "mrr")
    )
    return (
        f"{sure['level']:.0%} bootstrap interval over {sure['devices']:,} users "
        f"({sure['resamples']:,} resamples) of the test, this one model given: {', '.join(ends)}. It says "
        "how far other users would move the means; what another seed would do is in the intervals of a "
        "comparison."
    )


def beyond_table(summary: Mapping[str, Any]) -> PlainTable | None:
    """What the lists of ten hold; None where the log was not at hand."""
    if (told := summary.get("beyond")) is None:
        return None
    labels = {
        "coverage@10": ("Catalogue coverage", "share of all items that are in some list", ".1%"),
        "gini@10": ("Gini", "0: all items are shown alike, 1: one item alone", ".3f"),
        "popularity@10": ("Mean popularity", "training interactions of what is shown", ",.1f"),
        "novelty@10": ("Novelty", "mean −log2 of an item's share of the interactions, in bits", ".2f"),
    }
    return ("@10", "", ""), [
        (name, format(told[key], how), what) for key, (name, what, how) in labels.items()
    ]


def item_table(summary: Mapping[str, Any]) -> PlainTable | None:
    """HR@10 and NDCG@10 by how popular the answer is; None where the log was not at hand."""
    if (groups := summary.get("item_groups")) is None:
        return None
    rows = [
        (
            name,
            f"{found['items']:,}",
            f"{found['devices']:,}",
            *(f"{found[m]:.4f}" if m in found else "" for m in ("hr@10", "ndcg@10")),
        )
        for name, found in groups.items()
    ]
    return ("answer among", "items", "answers", "HR@10", "NDCG@10"), rows


def more_cuts_table(summary: Mapping[str, Any]) -> PlainTable | None:
    """HR and NDCG at the K of ``eval.cuts``; None without any."""
    if (more := summary.get("more_cuts")) is None:
        return None
    cuts = sorted({int(name.split("@")[1]) for name in more})
    return ("K", "HR", "NDCG"), [(str(k), *(f"{more[f'{m}@{k}']:.4f}" for m in ("hr", "ndcg"))) for k in cuts]


def _floors_on(summary: Mapping[str, Any]) -> str:
    """What the floors beside the run are, if it has some."""
    if not summary.get("floors"):
        return ""
    on = f" of {summary['floor_devices']:,} honest devices"
    return (
        "Popularity and Markov-1 (what most often follows the last item) need no training: a model has to "
        f"beat them. They are measured on the test items{on}."
    )


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
    known = summary.get("target_items", {})
    lines = [
        (f"item {item_text(item, known)}", *(f"{of[name]:.4f}" for name in names))
        for item, of in each.items()
    ]
    return mean, (("", *(name.upper() for name in names)), lines)


def _show(key: str, summary: Mapping[str, Any]) -> str:
    value = summary[key]
    if key == "targets":
        return ", ".join(item_text(item, summary.get("target_items", {})) for item in value) or "none"
    if key in UNITS:
        return UNITS[key](value)
    if key == "seed":
        return str(value)
    return f"{value:,}" if isinstance(value, int | float) else str(value)


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
    found = []
    for name in ("ndcg@10", "er@10"):
        figure = frame("round", name.upper(), HEIGHT)
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
        figure.add_bar(x=x, y=[count[r] for r in x], name=escape(label), marker=marker)
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
