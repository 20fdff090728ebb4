"""Whatever stands in the files of a run, it is shown, or one line says which part cannot be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fedsieve
from common.errors import CheckpointError
from experiments.engines import emulate
from experiments.run_figures import figures
from experiments.run_files import json_lines, printed, read_summary, times
from experiments.run_report import page, write_report
from experiments.run_schema import Summary
from tests.server.federation import config

GONE = object()
ODD: list[Any] = [GONE, None, "x", -1, 1.5, [], [None], {}, {"x": None}, {"x": {"y": "z"}}, True]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("schema") / "run"
    emulate(config("attack.name=label_to_target", "eval.cuts=[3, 7]"), out)
    return out


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def refusal(use: Callable[[], object]) -> str:
    """Why it is refused, or nothing."""
    try:
        use()
    except CheckpointError as error:
        return str(error)
    return ""


def changed(part: dict[str, Any], name: str, value: Any) -> str:
    rest = {key: one for key, one in part.items() if key != name}
    return json.dumps(rest if value is GONE else rest | {name: value})


def test_the_schema_knows_what_a_run_writes(finished: Path) -> None:
    summary = read_summary(finished)
    assert not {"beyond", "floors", "intervals", "item_groups", "more_cuts", "quartiles"} - summary.keys()
    assert {*Summary.model_fields} >= {"beyond", "floors", "intervals", "item_groups", "more_cuts"}
    assert len(list(json_lines(finished / "metrics.jsonl"))) > 3
    assert len(list(json_lines(finished / "audit.jsonl"))) > 3


def test_no_part_of_a_summary_ends_in_a_traceback(folder: Path) -> None:
    path = folder / "summary.json"
    whole: dict[str, Any] = json.loads(path.read_text())
    refused = set()
    for name in whole:
        for value in ODD:
            path.write_text(changed(whole, name, value))
            if told := refusal(lambda: fedsieve.load_result(folder)):
                assert name in told
                refused.add(name)
                continue
            found = fedsieve.load_result(folder)
            assert repr(found)
            assert found._repr_html_()
            assert page(found.summary, {})
            assert printed(found.summary)
    assert refused >= {"protocol", "seconds", "targets", "test", "er@10", "floors", "intervals", "beyond"}


@pytest.mark.parametrize("name", ["metrics.jsonl", "audit.jsonl"])
def test_no_part_of_a_line_ends_in_a_traceback(folder: Path, name: str) -> None:
    path = folder / name
    lines = path.read_text().splitlines()
    last: dict[str, Any] = json.loads(lines[-1])
    texts = [changed(last, key, value) for key in last for value in ODD] + ["3", "[]", "null", "{}", "", "{"]
    for text in texts:
        path.write_text("\n".join([*lines[:-1], text, ""]))
        if told := refusal(lambda: list(json_lines(path))):
            assert f"{name} is damaged" in told
            assert f"line {len(lines)}: " in told
            continue
        found = fedsieve.load_result(folder)
        assert found.history.height
        assert found.audit.height
        metrics = list(json_lines(folder / "metrics.jsonl"))
        assert figures(metrics, json_lines(folder / "audit.jsonl"))


def test_a_run_of_before_evaluations_had_their_time_is_read(folder: Path) -> None:
    path = folder / "summary.json"
    path.write_text(changed(json.loads(path.read_text()), "seconds_evaluation", GONE))
    found = fedsieve.load_result(folder)
    assert times(found.summary).endswith("0 s of them evaluation")
    assert write_report(folder).exists()


def test_the_part_that_is_wrong_is_named(folder: Path) -> None:
    path = folder / "summary.json"
    whole = json.loads(path.read_text())
    for text, told in {
        changed(whole, "seconds", GONE): "of another version: seconds is missing",
        changed(whole, "rounds", "many"): "of another version: rounds cannot be 'many'",
        changed(whole, "test", {"hr@10": 0.1}): "of another version: test: hr@5 is missing",
        "[1]": "of another version: it cannot be [1]",
        "{": "summary.json is damaged: not JSON",
    }.items():
        path.write_text(text)
        with pytest.raises(CheckpointError) as error:
            read_summary(folder)
        assert str(error.value).endswith(told)
