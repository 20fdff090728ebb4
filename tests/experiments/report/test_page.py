"""`fedsieve report`: the files, the structure of the page, the terminal, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from common.errors import RunError
from emulation.federation import federate
from experiments import cli
from experiments.report.writing import Written, write_grid_report
from tests.experiments.report.samples import CHROMIUM, PROTOCOL, Shape, row, rows, write
from tests.server.federation import config

EVIL = "</script><script>alert('x')</script> & 5_000 %"

SHAPE = Shape(rules=("mean", "krum", "sieve"), attacks=("control", "psmu"), models=("sasrec", "gru4rec"))


def failed() -> dict[str, object]:
    one = row("synthetic", "sasrec", "bulyan", "nan", 0.2, 0)
    kept = ("cell", "data", "model", "aggregator", "attack", "malicious_share", "seed")
    return {**dict.fromkeys(one), **{k: one[k] for k in kept}, "status": "failed", "error": EVIL}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("grid")
    write(folder, [*rows(SHAPE), failed()])
    return write_grid_report(folder, images=False)


@pytest.fixture(scope="module")
def html(written: Written) -> str:
    return written.page.read_text()


def bare(html: str) -> str:
    """The page without its scripts and styles."""
    return re.sub(r"<(script|style).*?</\1>", "", html, flags=re.S)


def test_the_page_is_whole_and_fetches_nothing(html: str) -> None:
    assert html.startswith("<!doctype html>")
    assert html.rstrip().endswith("</html>")
    assert not re.findall(r"\ssrc=", bare(html))
    assert set(re.findall(r"href=['\"]([^'\"]*)", bare(html))) == {
        "#synthetic-sasrec",
        "#synthetic-gru4rec",
    }
    assert html.count("plotly.js v") == 1
    assert "prefers-color-scheme: dark" in html


def test_protocol_and_seeds_stand_on_top(html: str) -> None:
    text = bare(html)
    assert text.count(PROTOCOL) == 1
    assert (
        text.index(PROTOCOL) < text.index("36 finished cells, 1 failed; seeds 0, 1, 2") < text.index("<table")
    )


def test_the_attackers_stand_on_top_as_far_as_they_are_known(tmp_path: Path) -> None:
    found = rows(Shape(attacks=("control", "psmu"), shares=(0.05, 0.2), seeds=(0,)))
    found = [one | {"start_round": 4, "aim": "cold"} for one in found]
    text = bare(write_grid_report(write(tmp_path / "some", found), images=False).page.read_text())
    assert "Attackers: malicious 5 %, 20 %; from round 4; targets cold." in text
    clean = [one for one in found if one["attack"] == "control"]
    text = bare(write_grid_report(write(tmp_path / "none", clean), images=False).page.read_text())
    assert "Attackers" not in text


def test_every_section_has_its_figures_and_tables(html: str) -> None:
    for part in ("synthetic-sasrec", "synthetic-gru4rec"):
        for name in (
            *("retained", "exposure", "tradeoff", "curves-ndcg", "curves-er"),
            *("weights", "rows", "cost"),
        ):
            assert f'<div class="figure" id="{part}-{name}">' in html
        assert f'<div class="nothing" id="{part}-rejections">' in html
    names = ("main", "tests", "quartiles", "weights", "cost", "ndcg-by-attack", "er-by-attack", "runs")
    for name in names:
        assert html.count(f'data-table="{name}"') == 2
    for part in ("popularity", "markov", "grid.yaml"):
        assert part in bare(html)


def test_text_from_outside_cannot_leave_its_place(html: str) -> None:
    assert EVIL not in html
    assert "&lt;/script&gt;&lt;script&gt;alert(&#39;x&#39;)" in html
    specs = re.search(r'id="charts">(.*?)</script>', html, re.S)
    assert specs is not None
    assert "synthetic-sasrec-tradeoff" in json.loads(specs.group(1))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found; apt-get install chromium")
def test_every_plot_and_table_is_a_file_too(tmp_path: Path) -> None:
    shape = Shape(rules=("mean", "sieve"), attacks=("control", "psmu"), seeds=(0,))
    written = write_grid_report(write(tmp_path, [*rows(shape), failed()]))
    html = written.page.read_text()
    stems = {p.relative_to(tmp_path / "plots").with_suffix("") for p in written.images}
    assert len(written.images) == 2 * len(stems)
    assert all(path.stat().st_size > 1000 for path in written.images)
    assert {Path("synthetic-sasrec/retained"), Path("synthetic-sasrec/curves-er--psmu")} <= stems
    variants = html.count("<option>") + len(re.findall('<div class="figure"', html))
    assert len(stems) <= variants
    assert {p.suffix for p in written.tables} == {".md", ".tex"}
    main = (tmp_path / "tables" / "synthetic-sasrec" / "main.tex").read_text()
    assert r"\toprule" in main
    told = (tmp_path / "tables" / "failed.tex").read_text()
    assert r"\& 5\_000 \%" in told


def test_tests_are_named_with_their_baseline(written: Written) -> None:
    main = written.main[0]
    assert main.rows[0][0] == "sieve"
    ps = {row[0]: row[7] for row in main.rows}
    attacked = {"mean": 0.0, "krum": 0.0}
    for found in rows(SHAPE):
        if found["attack"] == "psmu" and found["model"] == "sasrec" and found["aggregator"] in attacked:
            attacked[found["aggregator"]] += found["test.ndcg@10"]
    best = max(attacked, key=attacked.__getitem__)
    assert [s for s, p in ps.items() if p == "baseline"] == [best]
    assert isinstance(ps["sieve"], float)
    assert f"against {best}, the baseline of the highest mean" in main.note


def test_shares_of_the_clean_run_are_not_called_ndcg(tmp_path: Path) -> None:
    shape = Shape(attacks=("control", "psmu"), seeds=(0,))
    write_grid_report(write(tmp_path / "shares", rows(shape)), images=False)
    told = (tmp_path / "shares" / "tables" / "synthetic-sasrec" / "ndcg-by-attack.md").read_text()
    assert told.startswith("### NDCG@10 retained by attack: ")
    assert "1.000" in told
    attacked = [one for one in rows(shape) if one["attack"] != "control"]
    write_grid_report(write(tmp_path / "plain", attacked), images=False)
    told = (tmp_path / "plain" / "tables" / "synthetic-sasrec" / "ndcg-by-attack.md").read_text()
    assert told.startswith("### NDCG@10 by attack: ")


def test_one_seed_has_no_interval_and_no_test(tmp_path: Path) -> None:
    found = write_grid_report(write(tmp_path, rows(Shape(seeds=(4,)))), images=False)
    text = bare(found.page.read_text())
    assert "one seed: no interval" in text
    assert "±" not in text.partition("grid.yaml")[0]
    assert 'data-table="tests"' not in text
    assert 'class="half"' not in text
    assert found.images == []
    assert not (tmp_path / "plots").exists()


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    found = rows(Shape())
    folder = write(tmp_path, found[3:], curves=False)
    notes = write_grid_report(folder, images=False).notes
    assert any("3 of 60 combinations of strategy, attack and seed" in note for note in notes)
    assert any("57 cells have no readable metrics.jsonl" in note for note in notes)
    twice = [found[0], found[0] | {"cell": "f" * 12}]
    notes = write_grid_report(write(tmp_path / "twice", twice), images=False).notes
    assert any("1 cells have the same names" in note for note in notes)


def test_a_grid_in_which_all_failed_still_has_its_page(tmp_path: Path) -> None:
    found = write_grid_report(write(tmp_path, [failed()]))
    text = bare(found.page.read_text())
    assert "No cell has finished" in text
    assert "1 failed cells" in text
    assert found.main == []


def test_a_real_run_is_a_cell(tmp_path: Path) -> None:
    """The curves come from the files that a run writes."""
    summary = federate(config("strategy.aggregator=sieve"), tmp_path / "cells" / ("a" * 12))
    one = row("synthetic", "sasrec", "sieve", "none", 0.0, 0, cell="a" * 12)
    one["test.ndcg@10"] = summary["test"]["ndcg@10"]
    found = write_grid_report(write(tmp_path, [one], curves=False), images=False)
    assert found.notes == []
    specs = re.search(r'id="charts">(.*?)</script>', found.page.read_text(), re.S)
    assert specs is not None
    chart = json.loads(specs.group(1))["synthetic-sasrec-curves-ndcg"]["none"]
    (line,) = chart["data"]
    metrics = (tmp_path / "cells" / ("a" * 12) / "metrics.jsonl").read_text().splitlines()
    valid = [m for m in map(json.loads, metrics) if m.get("split") == "valid"]
    assert line["x"] == [m["round"] for m in valid]
    assert line["y"] == pytest.approx([m["ndcg@10"] for m in valid], rel=1e-4)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def test_the_command_prints_the_table_and_where_it_wrote(tmp_path: Path) -> None:
    folder = write(tmp_path, rows(Shape(seeds=(0, 1))))
    result = invoke("report", folder, "--no-images")
    assert result.exit_code == 0, result.output
    for part in ("Strategies: synthetic, sasrec", "norm_clip", "markov", "baseline"):
        assert part in result.output
    assert f"Report in {folder / 'report.html'}" in result.output.replace("\n", "")
    assert "plots in" not in result.output


def test_the_command_refuses_a_folder_without_results(tmp_path: Path) -> None:
    result = invoke("report", tmp_path)
    assert isinstance(result.exception, RunError)
    assert "no results.csv of fedsieve compare" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path, rows(Shape(seeds=(0,))))
    (folder / "tables").write_text("a file is in the way")
    with pytest.raises(RunError, match="cannot write .*tables"):
        write_grid_report(folder, images=False)
