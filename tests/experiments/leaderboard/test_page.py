"""The page says what is measured, what is open and how to compute it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import ConfigError
from experiments.leaderboard import page as page_module
from experiments.leaderboard.cells import Board
from experiments.leaderboard.columns import BOARD, BY_ATTACK
from experiments.leaderboard.kept import check_kept
from experiments.leaderboard.page import measured, write_page
from experiments.leaderboard.protocol import Protocol
from experiments.leaderboard.selection import fits, parse
from experiments.leaderboard.tables import Measured, attack_table, overall_table, published_table, scope_table
from experiments.report.section import share_retained
from experiments.report.statistics import Estimate
from experiments.report.tables import Table
from server.records.holding import FolderInUse
from tests.experiments.leaderboard.samples import board, finish
from tests.experiments.report.samples import CHROMIUM
from tests.experiments.report.test_browser import FLAGS, LOAD_MS

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (dev extra)")

PUBLISHED = {"data": "synthetic", "model": "sasrec", "metric": "NDCG@10", "value": 0.125}
CHANGES = {
    "strategies": ["mean", "median", "krum"],
    "attacks": ["control", "parity", "label_to_target", "dv_fsr", {"name": "adaptive", "mode": "row"}, "ipm"],
    "shares": [0.05, 0.3],
    "seeds": [0, 1, 2],
    "published": [{**PUBLISHED, "note": "made up", "source": "this test"}],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Board, Measured]:
    """All of mean and median, the first seed of krum at 5 % of the devices, one cell that failed."""
    protocol, of = board(tmp_path_factory.mktemp("board"), **CHANGES)
    krum = [one for one in of.plan.cells if one.labels["aggregator"] == "krum"]
    finish(of, [one for one in of.plan.cells if one not in krum])
    finish(of, [one for one in krum if (one.labels["malicious_share"], one.labels["seed"]) == (0.05, 0)])
    (of.folder / "failed").mkdir()
    (of.folder / "failed" / f"{krum[-1].key}.json").write_text('{"error": "<b>no disk</b>"}')
    return of, measured(protocol, of, of.states({}))


def cells(table: Table, name: str) -> list[object]:
    at = [column.title for column in table.columns].index(name)
    return [row[at] for row in table.rows]


def test_every_rule_has_a_row_and_only_whole_ones_a_place(made: tuple[Board, Measured]) -> None:
    known = made[1]
    table = overall_table(known)
    assert [column.title for column in table.columns if column.title not in BOARD] == []
    assert cells(table, "Rule") == ["median", "mean", "krum"]  # by the samples' formula
    assert cells(table, "Seeds") == [3, 3, 0]
    assert cells(table, "Done") == [36, 36, 6]
    assert cells(table, "Open") == [0, 0, 30]
    assert cells(table, "Place")[2] is None
    assert None not in cells(table, "Place")[:2]
    worst = cells(table, "Kept, worst")[0]
    assert isinstance(worst, Estimate)
    section = known.groups["synthetic", "sasrec"]
    every = [section.estimate("median", c, share_retained) for c in section.attacks if c.kind != "parity"]
    assert worst.mean == min(one.mean for one in every if one is not None)


def test_by_share_every_scope_is_there_with_what_is_open(made: tuple[Board, Measured]) -> None:
    table = scope_table(made[1])
    rows = list(zip(cells(table, "Malicious"), cells(table, "Rule"), cells(table, "Seeds"), strict=True))
    assert len(rows) == 6
    assert ("5 %", "krum", 1) in rows
    assert ("30 %", "krum", 0) in rows
    place = dict(zip(rows, cells(table, "Place"), strict=True))
    assert place["5 %", "krum", 1] is None  # one seed has no interval


def test_by_attack_no_cell_is_missing(made: tuple[Board, Measured]) -> None:
    of, known = made
    table = attack_table(known)
    assert [column.title for column in table.columns] == list(BY_ATTACK)
    done, left = cells(table, "Done"), cells(table, "Open")
    assert sum(map(int, map(str, [*done, *left]))) == len(of.plan.cells)
    states = list(zip(cells(table, "Rule"), cells(table, "Malicious"), cells(table, "State"), strict=True))
    assert states.count(("krum", "5 %", "part")) == 6
    assert states.count(("krum", "30 %", "open")) == 5
    assert states.count(("krum", "30 %", "failed")) == 1
    beyond = dict(
        zip(zip(cells(table, "Rule"), cells(table, "Attack"), strict=True), table.rows, strict=True)
    )
    at = list(BY_ATTACK).index("Beyond parity")
    assert beyond["mean", "parity"][at] is beyond["mean", "ipm"][at] is None
    assert isinstance(beyond["mean", "dv_fsr"][at], Estimate)


def test_the_command_of_a_row_chooses_its_cells(made: tuple[Board, Measured]) -> None:
    of, known = made
    for table in (overall_table(known), scope_table(known), attack_table(known)):
        commands = cells(table, "Command")
        counts = [
            int(str(a)) + int(str(b)) for a, b in zip(cells(table, "Done"), cells(table, "Open"), strict=True)
        ]
        for text, count in zip(commands, counts, strict=True):
            words = shlex.split(str(text))
            assert words[:2] == ["fedsieve", "leaderboard"]
            assert words[words.index("--out") + 1] == str(of.folder)
            chosen = parse([words[words.index("--only") + 1]])
            assert sum(fits(chosen, one.labels) for one in of.plan.cells) == count


def test_a_published_number_stands_beside_the_plain_mean(made: tuple[Board, Measured]) -> None:
    table = published_table(made[1])
    assert table is not None
    ((data, model, metric, value, here, *_),) = table.rows
    assert (data, model, metric, value) == ("synthetic", "sasrec", "NDCG@10", 0.125)
    section = made[1].groups["synthetic", "sasrec"]
    assert here == section.mean("mean", section.cleans, "test.ndcg@10")


def test_nothing_done_is_a_page_of_open_cells(tmp_path: Path) -> None:
    protocol, of = board(tmp_path)
    of.folder.mkdir()
    path = write_page(of, measured(protocol, of, of.states({})))
    text = path.read_text()
    assert "16 cells; 0 done, 0 in work, 0 failed, 16 open." in text
    assert "6 rounds of 16 devices, 20 items a slice, attackers from round 4 on" in text
    assert not (of.folder / "results.csv").exists()


def test_no_other_protocol_comes_between_the_check_and_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol, of = board(tmp_path)
    other = Protocol(protocol.head.model_copy(update={"title": "Other"}), protocol.grid, "other")
    seen = list[str]()

    def meanwhile(folder: Path, asked: Protocol) -> bool:
        found = check_kept(folder, asked)
        if asked is protocol:
            with pytest.raises(FolderInUse, match="is in use") as refused:
                write_page(of, measured(other, of, of.states({})), patience_s=0)
            seen.append(str(refused.value))
        return found

    monkeypatch.setattr(page_module, "check_kept", meanwhile)
    path = write_page(of, measured(protocol, of, of.states({})))
    assert len(seen) == 1
    assert "Other" not in path.read_text()
    with pytest.raises(ConfigError, match="differs in title"):
        write_page(of, measured(other, of, of.states({})))


@pytest.fixture(scope="module", params=[1280, 480])
def page(request: pytest.FixtureRequest, made: tuple[Board, Measured]) -> Iterator[sync_api.Page]:
    path = write_page(*made)
    told: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        opened = browser.new_page(viewport={"width": request.param, "height": 900})
        opened.on("console", lambda message: told.append(message.text))
        opened.on("pageerror", lambda error: told.append(str(error)))
        asked: list[str] = []
        opened.on("request", lambda sent: asked.append(sent.url))
        opened.goto(path.as_uri(), timeout=LOAD_MS)
        yield opened
        browser.close()
    assert told == []
    assert asked == [path.as_uri()]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found; apt-get install chromium")
def test_the_page_fits_filters_and_explains(page: sync_api.Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")
    table = page.locator("[data-table=attacks]")
    table.get_by_label("Rule").select_option("krum")
    table.get_by_label("State").select_option("open")
    assert table.locator(".count").inner_text() == "5 of 36 rows"
    row = table.locator("tbody tr:not([hidden])").first
    assert "--only" in row.inner_text()
    heights = page.locator("[data-table=overall] tbody tr").evaluate_all(
        "rows => rows.map(r => r.offsetHeight)"
    )
    assert max(heights) < 80  # a long command makes no tall row
    heads = table.locator("thead th").all_inner_texts()
    meaning = page.locator("section:has([data-table=attacks]) details").inner_text
    page.locator("section:has([data-table=attacks]) summary").click()
    assert all(re.search(rf"^{re.escape(head)}\t", meaning(), re.MULTILINE) for head in heads)
    assert page.locator("[data-table=failed]").inner_text().count("<b>no disk</b>") == 1
