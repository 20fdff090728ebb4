"""``report.html`` of one run: a page that needs no network, in the reader's light or dark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from common.errors import RunError
from experiments.report.html import frame
from experiments.report.html import plain_table as table
from experiments.report.look import text
from experiments.report_charts import charts
from experiments.run_files import json_lines
from server.records.checkpoint import write_atomically

Line = dict[str, Any]

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
    "device_updates_per_second": "Device updates a second",
    "bytes_up": "Bytes up",
    "bytes_down": "Bytes down",
    "peak_rss_mb": "Peak memory, MB",
    "evaluated_devices": "Devices evaluated",
    "test_randomised_devices": "of them by randomised response",
    "test_widened": "so many times as wide that makes an interval of HR@10",
}


def write_report(folder: Path) -> Path:
    """Read ``summary.json``, ``metrics.jsonl`` and ``audit.jsonl`` of a run; write ``report.html`` there.

    Raises RunError when the folder holds no finished run or one of its files is damaged.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        metrics = list(json_lines(folder / "metrics.jsonl"))
        drawn = charts(metrics, json_lines(folder / "audit.jsonl"))
    except OSError as error:
        raise RunError(f"no finished run in {folder}: {error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder} holds damaged results: {error!r}") from error
    path = folder / "report.html"
    write_atomically(path, page(summary, drawn).encode("utf-8"))
    return path


def page(summary: Mapping[str, Any], drawn: Sequence[str]) -> str:
    """The whole page; ``drawn`` are charts as HTML, the first of which carries plotly.js."""
    title = f"{summary['model']} on {summary['data']}, {summary['aggregator']}"
    figures = "\n".join(f"<div>{chart}</div>" for chart in drawn)
    body = f"""<h1>{escape(title)}</h1>
<p class="protocol">{escape(str(summary["protocol"]))}</p>
{metric_table(summary)}
{exposure_table(summary)}
<h2>Rounds</h2>
<div class="charts">{figures}</div>
<h2>Run</h2>
{table(("", ""), [(label, _show(summary[key])) for key, label in FACTS.items() if key in summary])}
<script>{text("charts.js")}</script>"""
    return frame(title, body)


def metric_table(summary: Mapping[str, Any]) -> str:
    """Test metrics over all devices and by quartile of history length; validation beside them."""
    groups = {
        "test": summary.get("test"),
        **{f"test {q}": m for q, m in summary.get("quartiles", {}).items()},
    }
    if beside := summary.get("test_over_nodes"):
        groups["test, median node"] = beside["median"]
        groups["test, trimmed mean of nodes"] = beside["trimmed_mean"]
    groups["validation"] = summary.get("valid")
    rows = [(name, *(f"{found[m]:.4f}" for m in METRICS)) for name, found in groups.items() if found]
    head = "<h2>Metrics</h2><p class='protocol'>q1 has the shortest histories, q4 the longest.</p>"
    return head + table(("", *(m.upper() for m in METRICS)), rows)


def exposure_table(summary: Mapping[str, Any]) -> str:
    """How often the targets reach the lists of users who do not have them; empty without targets.

    Of several targets the mean comes first, then ER of each.
    """
    if "er@10" not in summary:
        return ""
    rows = [(f"@{k}", *(f"{summary[f'{name}@{k}']:.4f}" for name in ("er", "t_ndcg"))) for k in (5, 10, 20)]
    found = "<h2>Exposure of the target items</h2>" + table(("", "ER", "T-NDCG"), rows)
    each = summary.get("exposure_by_target", {})
    if len(each) > 1:
        heads = [f"er@{k}" for k in (5, 10, 20)]
        lines = [(f"item {item}", *(f"{of[name]:.4f}" for name in heads)) for item, of in each.items()]
        found += "<p class='protocol'>The mean over the targets; each by itself:</p>"
        found += table(("", *(name.upper() for name in heads)), lines)
    return found


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
