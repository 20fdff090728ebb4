"""Names and texts of files in what is printed: no markup, no HTML, nothing that acts on the terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from common.errors import DataError
from common.printable import LONGEST
from experiments import cli
from experiments.compare.display import Display
from experiments.containers import __main__ as containers
from experiments.pool import Event, Job
from experiments.report.tables import Column, Table, terminal
from experiments.run_files import summary_table
from experiments.run_report import page
from tests.common.hostile_text import ATTACKS, check_harmless
from tests.server.federation import config

NAMES = [name for name in ATTACKS if name not in ("huge", "surrogate")]
MARKUP = "[red]x[/red][link=http://x]y[/link][/]"
SUMMARY = {
    **{"model": "sasrec", "aggregator": "mean", "protocol": "full ranking"},
    "test": dict.fromkeys(("hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr"), 0.5),
}


def printed(what: RenderableType) -> str:
    """As on a terminal with colours, without them."""
    out = io.StringIO()
    console = Console(file=out, record=True, width=1000, force_terminal=True, legacy_windows=False)
    console.print(what)
    assert "\x1b]8;" not in out.getvalue()  # a link of a terminal
    return console.export_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_table_of_a_run(name: str) -> None:
    text = printed(summary_table({**SUMMARY, "data": ATTACKS[name], "protocol": ATTACKS[name]}))
    check_harmless(text, 1000)
    assert text.count("PWNED") == 2
    assert (MARKUP in text) == (name == "markup")


@pytest.mark.parametrize("name", NAMES)
def test_tables_of_a_grid(name: str) -> None:
    text = ATTACKS[name]
    table = Table("t", text, text, [Column(text), Column("n")], [[text, 1.0]], note=text)
    found = printed(terminal(table, 1000))
    check_harmless(found, 1000)
    assert found.count("PWNED") == 5
    assert (MARKUP in found) == (name == "markup")


@pytest.mark.parametrize("terminal_", [False, True])
@pytest.mark.parametrize("name", [*NAMES, "huge"])
def test_a_cell_that_failed(name: str, terminal_: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, width=1000, force_terminal=terminal_, color_system=None, legacy_windows=False)

    class Nothing:
        def heard(self, event: Event) -> None: ...
        def seconds(self, passed: float) -> float:
            return 0.0

    display = Display(console, 2, 0, Nothing())  # type: ignore[arg-type]
    job = Job("k", "mean", config(), Path())
    display.running(Event("round", Job("other", "mean", config(), Path()), 1, ATTACKS[name]))
    display.ended(Event("failed", job, 0, ATTACKS[name]), None)
    if terminal_:
        console.print(display._picture())
    check_harmless(out.getvalue(), 2000)
    assert "PWNED" in out.getvalue()
    assert (MARKUP in out.getvalue()) == (name == "markup")


@pytest.mark.parametrize("name", ATTACKS)
def test_a_mistake_that_repeats_a_log(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise DataError("log.csv", f"a rating {ATTACKS[name]}", 7)

    monkeypatch.setattr(containers, "_run", fail)
    assert containers.main(["run"]) == 2
    monkeypatch.setattr(cli, "with_help", fail)
    monkeypatch.setattr(cli, "plain_logs", lambda: None)
    with pytest.raises(SystemExit):
        cli.main()
    told = capsys.readouterr().err
    assert told.count("fedsieve: log.csv, line 7: a rating ") == 2
    check_harmless(told.replace("\nINFO", "\n INFO"), LONGEST + 100)  # a mistake may have several lines


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_a_run(name: str) -> None:
    text = ATTACKS[name]
    html = page({**SUMMARY, "data": text, "protocol": text}, {})
    assert "<script>alert(1)" not in html
    assert "<img src=x" not in html
    assert html.count("PWNED") == 4
