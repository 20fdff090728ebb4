"""``report.html`` of one run: a page that needs no network, in the reader's light or dark."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from common.errors import RunError
from experiments.report_charts import charts
from server.checkpoint import write_atomically

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
}

STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --soft: #5b6470; --page: #ffffff; --line: #d7dce2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --soft: #9aa5b3; --page: #14181d; --line: #343c46; }
}
body { background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
       max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.protocol { color: var(--soft); margin: .2rem 0 1.2rem; }
.wide { overflow-x: auto; }
.charts > div { min-width: 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
"""

SCRIPT = """
const dark = matchMedia('(prefers-color-scheme: dark)');
function paint() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue('--ink').trim(), line = style.getPropertyValue('--line').trim();
  const look = {'font.color': ink};
  for (const axis of ['xaxis', 'yaxis'])
    for (const part of ['gridcolor', 'zerolinecolor', 'linecolor']) look[`${axis}.${part}`] = line;
  document.querySelectorAll('.js-plotly-plot').forEach(chart => Plotly.relayout(chart, look));
}
dark.addEventListener('change', paint);
paint();
document.querySelectorAll('.js-plotly-plot').forEach(chart => Plotly.Plots.resize(chart));
"""


def write_report(folder: Path) -> Path:
    """Read ``summary.json``, ``metrics.jsonl`` and ``audit.jsonl`` of a run; write ``report.html`` there.

    Raises RunError when the folder holds no finished run or one of its files is damaged.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        metrics = list(_lines(folder / "metrics.jsonl"))
        drawn = charts(metrics, _lines(folder / "audit.jsonl"))
    except OSError as error:
        raise RunError(f"no finished run in {folder}: {error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder} holds damaged results: {error!r}") from error
    path = folder / "report.html"
    write_atomically(path, page(summary, drawn).encode("utf-8"))
    return path


def _lines(path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def page(summary: Mapping[str, Any], drawn: Sequence[str]) -> str:
    """The whole page; ``drawn`` are charts as HTML, the first of which carries plotly.js."""
    title = escape(f"{summary['model']} on {summary['data']}, {summary['aggregator']}")
    figures = "\n".join(f"<div>{chart}</div>" for chart in drawn)
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}</style></head>
<body>
<h1>{title}</h1>
<p class="protocol">{escape(str(summary["protocol"]))}</p>
{metric_table(summary)}
{exposure_table(summary)}
<h2>Rounds</h2>
<div class="charts">{figures}</div>
<h2>Run</h2>
{table(("", ""), [(label, _show(summary[key])) for key, label in FACTS.items() if key in summary])}
<script>{SCRIPT}</script>
</body></html>
"""


def metric_table(summary: Mapping[str, Any]) -> str:
    """Test metrics over all devices and by quartile of history length; validation beside them."""
    groups = {
        "test": summary.get("test"),
        **{f"test {q}": m for q, m in summary.get("quartiles", {}).items()},
    }
    groups["validation"] = summary.get("valid")
    rows = [(name, *(f"{found[m]:.4f}" for m in METRICS)) for name, found in groups.items() if found]
    head = "<h2>Metrics</h2><p class='protocol'>q1 has the shortest histories, q4 the longest.</p>"
    return head + table(("", *(m.upper() for m in METRICS)), rows)


def exposure_table(summary: Mapping[str, Any]) -> str:
    """How often the targets reach the lists of users who do not have them; empty without targets."""
    if "er@10" not in summary:
        return ""
    rows = [(f"@{k}", *(f"{summary[f'{name}@{k}']:.4f}" for name in ("er", "t_ndcg"))) for k in (5, 10, 20)]
    return "<h2>Exposure of the target items</h2>" + table(("", "ER", "T-NDCG"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table; every cell is escaped."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def _show(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
