"""The grid that comes with the project to show that all works, run as a user would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from common.settings import read_tree

ROOT = Path(__file__).resolve().parents[3]
GRID = ROOT / "configs" / "compare" / "smoke.yaml"
STRATEGIES = {"mean", "median", "krum", "sieve"}
pytestmark = pytest.mark.deployment  # it wants every core for itself


def command(*arguments: str | Path) -> str:
    """What ``fedsieve ARGUMENTS`` says, once it has ended well."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    called = [sys.executable, "-m", "experiments.cli", *map(str, arguments)]
    done = subprocess.run(called, env=environment, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The folder of the grid, what the grid said and what the report said."""
    out = tmp_path_factory.mktemp("smoke") / "out"
    return out, command("compare", GRID, "--out", out), command("report", out)


@pytest.fixture(scope="module")
def table(said: tuple[Path, str, str]) -> pl.DataFrame:
    return pl.read_parquet(said[0] / "results.parquet")


def test_every_cell_ends_and_none_twice(said: tuple[Path, str, str], table: pl.DataFrame) -> None:
    out, told, _ = said
    tree = read_tree(GRID)
    lists = ("strategies", "attacks", "shares", "seeds")
    total = 1
    for name in lists:
        total *= len(tree[name])
    assert table.height == table["cell"].n_unique() == total == 24
    assert set(table["status"]) == {"done"}
    assert table["error"].null_count() == total
    assert told.count(f"/{total}] ") == total
    assert told.count("warm-up for 3 cells") == 8  # a rule and seed each
    assert {path.parent.name for path in (out / "cells").glob("*/row.json")} == set(table["cell"])
    again = command("compare", GRID, "--out", out)
    assert f"{total} cells, {total} of them already in" in again


def test_the_rows_are_results(table: pl.DataFrame) -> None:
    assert set(table["aggregator"]) == STRATEGIES
    for name in ("test.ndcg@10", "valid.hr@10", "er@10", "q1.ndcg@10", "rejected"):
        assert table[name].null_count() == 0
        assert table[name].is_between(0, 1).all()
    for name in ("test.ndcg@10", "seconds", "bytes_up", "device_updates_per_second", "peak_rss_mb"):
        assert (table[name] > 0).all()
    weighed = table.filter(pl.col("attack") != "control", pl.col("aggregator") == "mean")
    assert weighed["weight.malicious"].to_list() == pytest.approx([1.0] * weighed.height)
    numbers = table.filter(pl.col("aggregator") == "sieve", pl.col("attack") == "label_to_target")
    assert (numbers["weight.malicious"] < numbers["weight.honest"]).all()


def test_the_model_beats_its_floors(said: tuple[Path, str, str], table: pl.DataFrame) -> None:
    """What the page shows first makes sense: the plain mean without an attack is above both floors."""
    (floors,) = json.loads((said[0] / "floors.json").read_text()).values()
    clean = table.filter(pl.col("attack") == "control", pl.col("aggregator") == "mean")
    for figure, margin in {"hr@10": 1.1, "ndcg@10": 1.1}.items():
        for name in ("popularity", "markov"):
            assert clean[f"test.{figure}"].min() > margin * floors[name][figure], (figure, name)


def test_the_report_is_a_page_with_plots_and_tables(said: tuple[Path, str, str]) -> None:
    out, _, told = said
    assert f"Report in {out / 'report.html'}" in told.replace("\n", "")
    assert all(name in told for name in STRATEGIES | {"popularity", "markov"})
    page = (out / "report.html").read_text()
    assert "24 finished cells, 0 failed; seeds 0, 1" in page
    for name in ("retained", "exposure", "tradeoff", "curves-ndcg", "curves-er", "weights", "cost"):
        assert f'<div class="figure" id="synthetic-sasrec-{name}">' in page
    # two seeds make no test
    tables = {path.name for path in (out / "tables" / "synthetic-sasrec").iterdir()}
    assert {f"{name}.{form}" for name in ("main", "beside", "runs") for form in ("md", "tex")} <= tables


def test_its_plots_are_images_too(said: tuple[Path, str, str]) -> None:
    out, _, told = said
    if "no Chrome or Chromium is found" in " ".join(told.split()):
        pytest.skip("no Chromium found; apt-get install chromium")
    for name in ("retained", "exposure", "tradeoff", "curves-ndcg", "curves-er", "weights", "cost"):
        for form in ("png", "svg"):
            assert list((out / "plots" / "synthetic-sasrec").glob(f"{name}*.{form}"))


def test_a_browser_draws_it(said: tuple[Path, str, str]) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (dev extra)")
    from tests.experiments.report.test_browser import CHROMIUM, FLAGS, LOAD_MS, assert_drawn

    if CHROMIUM is None:
        pytest.skip("no Chromium found; apt-get install chromium")
    told: list[str] = []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page()
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto((said[0] / "report.html").as_uri(), timeout=LOAD_MS)
        assert page.locator(".figure").count() >= 7
        assert_drawn(page.locator(".figure"))
        browser.close()
    assert told == []
