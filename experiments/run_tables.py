"""The tables of a run's page, from its ``summary.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from common.tasks import ACCURACY
from experiments.run_files import filtered, floor_rows, item_text, ranked
from experiments.units import bytes_text, seconds_text, share_text

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


UNITS: Mapping[str, Callable[[float], str]] = {
    "seconds": seconds_text,
    "seconds_evaluation": seconds_text,
    "bytes_up": bytes_text,
    "bytes_down": bytes_text,
    "peak_rss_mb": lambda mib: bytes_text(mib * 2**20),
    "idle_share": lambda share: f"{share:.0%} of those asked: no next item in the round's slice",
    "malicious_share": share_text,
}


PlainTable = tuple[Sequence[str], Sequence[Sequence[str]]]
"""The head, and the rows."""


def metric_table(summary: Mapping[str, Any]) -> PlainTable:
    """Test metrics over all devices and by quartile of history length; validation beside them."""
    end = filtered(summary)
    groups = {
        **dict(ranked(summary, "test")),
        **{f"test {q}{end}": m for q, m in summary.get("quartiles", {}).items()},
    }
    if beside := summary.get("test_over_nodes"):
        groups[f"test, median node{end}"] = beside["median"]
        groups[f"test, trimmed mean of nodes{end}"] = beside["trimmed_mean"]
    groups |= {label.replace("valid", "validation", 1): found for label, found in ranked(summary, "valid")}
    groups |= dict(floor_rows(summary))
    rows = [(name, *(f"{found[m]:.4f}" for m in ACCURACY)) for name, found in groups.items() if found]
    return ("", *(m.upper() for m in ACCURACY)), rows


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
        f"({sure['resamples']:,} resamples) of the test{filtered(summary)}, this one model given: "
        f"{', '.join(ends)}. It says how far other users would move the means; what another seed would do "
        "is in the intervals of a comparison."
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
    end = filtered(summary)
    return ("answer among", "items", "answers", f"HR@10{end}", f"NDCG@10{end}"), rows


def more_cuts_table(summary: Mapping[str, Any]) -> PlainTable | None:
    """HR and NDCG at the K of ``eval.cuts``; None without any."""
    if (more := summary.get("more_cuts")) is None:
        return None
    cuts = sorted({int(name.split("@")[1]) for name in more})
    head = "K", f"HR{filtered(summary)}", f"NDCG{filtered(summary)}"
    return head, [(str(k), *(f"{more[f'{m}@{k}']:.4f}" for m in ("hr", "ndcg"))) for k in cuts]


def floors_text(summary: Mapping[str, Any]) -> str:
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


def fact_text(key: str, summary: Mapping[str, Any]) -> str:
    value = summary[key]
    if key == "targets":
        return ", ".join(item_text(item, summary.get("target_items", {})) for item in value) or "none"
    if key in UNITS:
        return UNITS[key](value)
    if key == "seed":
        return str(value)
    return f"{value:,}" if isinstance(value, int | float) else str(value)
