"""Tables and progress, as text."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from experiments.progress import Bar
from experiments.tables import summary_table
from server.records.report import Evaluation, RoundReport
from server.round.state import ServerState

METRICS = ("hr@5", "hr@10", "hr@20", "ndcg@5", "ndcg@10", "ndcg@20", "mrr")
STATE: ServerState = None  # type: ignore[assignment]  # not looked at


def console(terminal: bool = False) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=160, legacy_windows=False), out


def evaluation(round_: int, split: str = "valid", exposed: float | None = None) -> Evaluation:
    exposure = {} if exposed is None else {"er@10": exposed}
    return Evaluation(round_, split, {"all": {"hr@10": 0.21, "ndcg@10": 0.11}}, exposure, 9)


def test_the_summary_table_shows_both_splits_and_the_exposure() -> None:
    summary = {
        **{"model": "sasrec", "data": "toy", "aggregator": "mean", "protocol": "full ranking"},
        "valid": {name: 0.1 + i / 100 for i, name in enumerate(METRICS)},
        "test": {name: 0.5 + i / 100 for i, name in enumerate(METRICS)},
        **{"targets": [7, 9], "er@5": 0.01, "er@10": 0.02, "er@20": 0.03},
    }
    screen, out = console()
    screen.print(summary_table(summary))
    text = out.getvalue()
    for value in ("0.1000", "0.1600", "0.5000", "0.5600", "0.0100", "0.0300", "7, 9", "full ranking"):
        assert value in text
    del summary["er@10"], summary["valid"]
    screen, out = console()
    screen.print(summary_table(summary))
    assert "ER@" not in out.getvalue()
    assert "valid" not in out.getvalue()


def test_without_a_terminal_an_evaluation_is_a_line() -> None:
    screen, out = console()
    with Bar("mean", 20, screen) as bar:
        bar.on_round(RoundReport(10, {}), STATE)
        bar.on_evaluation(evaluation(10))
        bar.on_evaluation(evaluation(20, "test", exposed=0.4))
    assert out.getvalue().splitlines() == [
        "mean: round 10 of 20, valid HR@10 0.210 NDCG@10 0.110",
        "mean: round 20 of 20, test HR@10 0.210 NDCG@10 0.110 ER@10 0.400",
    ]


def test_on_a_terminal_there_is_a_bar_with_rounds_and_figures() -> None:
    screen, out = console(terminal=True)
    with Bar("mean", 20, screen) as bar:
        bar.on_round(RoundReport(10, {}), STATE)
        bar.on_evaluation(evaluation(10))
    text = out.getvalue()
    assert "10/20" in text
    assert "valid HR@10 0.210 NDCG@10 0.110" in text
    assert "round 10 of 20" not in text


def test_the_bar_ends_with_an_error() -> None:
    screen, _ = console(terminal=True)
    with pytest.raises(ZeroDivisionError), Bar("mean", 20, screen):
        raise ZeroDivisionError
    with Bar("again", 20, screen):  # a live display that was left open would refuse a second one
        pass
