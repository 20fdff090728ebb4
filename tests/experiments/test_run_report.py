"""``report.html`` shows a run and needs nothing beside itself."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from common.errors import CheckpointError, RunError
from experiments.cli import app
from experiments.engines import emulate
from experiments.run_figures import (
    IDLE,
    IDLE_LABEL,
    REFUSALS,
    devices,
    figures,
    learning,
    read_audit,
    seconds,
    weights,
)
from experiments.run_files import item_text
from experiments.run_report import page, write_report
from experiments.units import bytes_text, share_text
from tests.server.federation import config, lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "run"
    settings = config("attack.name=label_to_target", "strategy.aggregator=geometric_median")
    emulate(settings, out)
    return out


class Cells(HTMLParser):
    """Texts of all cells, and whatever would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.sources: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [str(value) for key, value in attrs if key in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        self.inside = tag in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1].append(data)
            self.inside = False


def parsed(html: str) -> Cells:
    cells = Cells()
    cells.feed(html)
    return cells


def test_the_page_is_whole_and_fetches_nothing(finished: Path) -> None:
    html = (finished / "report.html").read_text()
    assert parsed(html).sources == []
    assert "cdn" not in re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert html.count("plotly.js v") == 1
    assert html.count('class="chart"') == len(_charts(html)) == 5
    assert html.startswith("<!doctype html>")
    assert html.rstrip().endswith("</html>")
    assert "prefers-color-scheme: dark" in html


def test_the_protocol_stands_on_top(finished: Path) -> None:
    html = (finished / "report.html").read_text()
    protocol = json.loads((finished / "summary.json").read_text())["protocol"]
    assert html.index(protocol) < html.index("<table>") < html.index('class="chart"')


def test_the_tables_hold_the_numbers_of_the_summary(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    rows = {row[0]: row[1:] for row in parsed((finished / "report.html").read_text()).rows if row}
    for name, found in {"test": summary["test"], "validation": summary["valid"]}.items():
        assert rows[name] == [f"{found[m]:.4f}" for m in _metrics()]
    for quartile, found in summary["quartiles"].items():
        assert rows[f"test {quartile}"] == [f"{found[m]:.4f}" for m in _metrics()]
    assert rows["@10"] == [f"{summary['er@10']:.4f}", f"{summary['t_ndcg@10']:.4f}"]
    assert rows["Seed"] == ["0"]
    assert rows["Sent by devices"] == [bytes_text(summary["bytes_up"])]
    for name, key in (("Popularity", "popularity"), ("Markov-1", "markov")):
        assert rows[name] == [f"{summary['floors'][key][m]:.4f}" for m in _metrics()]


def test_each_of_several_targets_has_its_own_line(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert set(summary["exposure_by_target"]) == {"3", "7"}
    rows = {row[0]: row[1:] for row in parsed((finished / "report.html").read_text()).rows if row}
    for item, found in summary["exposure_by_target"].items():
        told = item_text(item, summary["target_items"])
        assert summary["target_items"][item]["number"] == int(item)
        assert rows[f"item {told}"] == [f"{found[f'er@{k}']:.4f}" for k in (5, 10, 20)]
    del summary["exposure_by_target"]["3"]
    told = item_text("7", summary["target_items"])
    assert f"item {told}" not in page(summary, {})  # of one target the headline is all there is
    del summary["exposure_by_target"]
    assert "ER" in page(summary, {})  # a run of before


def test_what_stands_beside_the_means_has_its_lines(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert "median node" not in page(summary, {})  # of one node
    middle, trimmed = (dict.fromkeys(_metrics(), value) for value in (0.125, 0.25))
    summary["test_over_nodes"] = {"nodes": 9, "median": middle, "trimmed_mean": trimmed}
    summary |= {"test_randomised_devices": 3, "test_widened": 1.5}
    rows = {row[0]: row[1:] for row in parsed(page(summary, {})).rows if row}
    assert rows["test, median node"] == ["0.1250"] * 7
    assert rows["test, trimmed mean of nodes"] == ["0.2500"] * 7
    assert rows["of them by randomised response"] == ["3"]


def _metrics() -> list[str]:
    return ["hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr"]


def test_curves_are_those_of_the_metrics(finished: Path) -> None:
    metrics = lines(finished, "metrics")
    ndcg, er = learning(metrics)
    for figure, name in ((ndcg, "ndcg@10"), (er, "er@10")):
        valid, test = figure.data
        expected = [(m["round"], m[name]) for m in metrics if m.get("split") == "valid"]
        assert list(zip(valid.x, valid.y, strict=True)) == expected
        assert (list(test.x), len(test.y)) == ([4], 1)
    whole, exchange = seconds([m for m in metrics if "split" not in m]).data
    assert list(whole.x) == [1, 2, 3, 4]
    assert all(e <= w for e, w in zip(exchange.y, whole.y, strict=True))


def line(round_: int, device: int | None, verdict: str, reason: str = "", **more: Any) -> dict[str, Any]:
    return {"round": round_, "node": 1, "device": device, "verdict": verdict, "reason": reason, **more}


def test_verdicts_are_counted_by_reason_and_round() -> None:
    audit = [
        line(1, 4, "admitted", weight=0.75),
        line(1, 5, "clipped", "history", weight=0.25),
        line(1, 6, "refused", "not_finite"),
        line(2, None, "refused", "stale"),
        line(2, 4, "admitted", weight=1.0),
        line(2, None, "refused", "range", evaluation="valid"),
        line(2, None, "admitted", evaluation="test"),
    ]
    verdicts, shares = read_audit(iter(audit))
    assert {label: dict(count) for label, count in verdicts.items()} == {
        "admitted": {1: 1, 2: 1},
        "clipped: history": {1: 1},
        "refused: not_finite": {1: 1},
        "refused: stale (whole reply)": {2: 1},
    }
    assert shares == {"admitted": [1.5, 0.5, 1.0]}
    _, apart = read_audit(iter(audit), frozenset([5]))
    assert apart == {"honest": [1.5, 1.0], "malicious": [0.5]}
    figure = devices(verdicts)
    assert figure.data[0].name == "admitted"
    assert sum(sum(bar.y) for bar in figure.data) == len(audit) - 2  # evaluations are not among the updates


def test_the_histogram_counts_every_weight() -> None:
    (bars,) = weights({"admitted": [0.0, 0.5, 1.0, 1.0, 40.0]}).data
    assert sum(bars.y) == pytest.approx(1)
    honest, malicious = weights({"honest": [1.0, 1.0, 1.0], "malicious": [0.0]}).data
    assert (honest.name, malicious.name) == ("honest", "malicious")
    assert sum(honest.y) == pytest.approx(sum(malicious.y)) == pytest.approx(1)
    assert honest.marker.color != malicious.marker.color
    assert weights({}).data == ()


def test_idle_has_no_colour_of_warning() -> None:
    drawn = devices({IDLE_LABEL: Counter({1: 3}), "refused: stale": Counter({1: 1})})
    idle, stale = drawn.data
    assert idle.name.startswith("idle")
    assert (idle.marker.color, stale.marker.color) == (IDLE, REFUSALS[0])


def test_the_weights_of_an_emulation_are_of_honest_and_malicious_devices(finished: Path) -> None:
    (histogram,) = [
        chart[""]
        for chart in _charts((finished / "report.html").read_text()).values()
        if "weight" in chart[""]["layout"]["xaxis"]["title"]["text"]
    ]
    assert [bars["name"] for bars in histogram["data"]] == ["honest", "malicious"]


def test_the_page_of_a_run_is_made_again_by_the_command(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()
    done = CliRunner().invoke(app, ["report", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    again, first = ((folder / "report.html").read_text() for folder in (tmp_path / "run", finished))
    assert again == first
    (tmp_path / "run" / "summary.json").unlink()
    assert "is not finished" in str(CliRunner().invoke(app, ["report", str(tmp_path / "run")]).exception)


def test_charts_without_data_are_left_out() -> None:
    assert figures([], []) == {}
    drawn = figures([{"round": 1, "seconds": 1.0}, {"round": 2, "seconds": 2.0}], [])
    assert list(drawn) == ["Seconds a round"]
    summary = {"model": "m", "data": "d", "aggregator": "a", "protocol": "p"}
    assert _charts(page(summary, drawn)).keys() == {"chart-0"}
    assert "plotly.js v" not in page(summary, {})  # without a chart no library


def _charts(html: str) -> dict[str, Any]:
    found = re.search(r'id="charts">(.*?)</script>', html, re.S)
    assert found is not None
    charts: dict[str, Any] = json.loads(found.group(1))
    return charts


def test_text_from_outside_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    html = page({"model": evil, "data": evil, "aggregator": "mean", "protocol": evil, "seed": evil}, {})
    assert evil not in html
    assert "&lt;script&gt;alert(1)" in html
    drawn = {"t": devices({evil: Counter({1: 1})})}  # a reason of a damaged audit
    html = page({"model": "m", "data": "d", "aggregator": "a", "protocol": "p"}, drawn)
    assert evil not in html
    assert _charts(html)["chart-0"][""]["data"][0]["name"] == "&lt;script&gt;alert(1)&lt;/script&gt;"


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no finished run in .*summary\.json"):
        write_report(tmp_path)


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "audit.jsonl"])
def test_damaged_results_are_told(finished: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / name).write_text('{"round": 1, ')
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)} is damaged: .*not JSON$"):
        write_report(tmp_path / "run")


def test_a_small_share_is_not_shown_as_none() -> None:
    assert [share_text(share) for share in (0.2, 0.001, 0.07, 0.125)] == ["20%", "0.1%", "7%", "12.5%"]
