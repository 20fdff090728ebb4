"""Floors are computed once a log, and again when anything they come from has changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.data import Dataset, cut, load, recent
from experiments import floors as rules
from experiments.compare import kept_floors
from experiments.compare.kept_floors import NAME, floors_key, keep_floors
from experiments.compare.keys import data_digest
from experiments.floors import floors
from experiments.report.reading import _floors
from tests.server.federation import LOG

LOGS = ("log",)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many devices each log had that floors were computed of."""
    told: list[int] = []

    def spy(dataset: Dataset, *how: Any) -> dict[str, dict[str, float]]:
        told.append(len(dataset))
        return floors(dataset, *how)

    monkeypatch.setattr(rules, "floors", spy)
    return told


def log() -> Dataset:
    return load("synthetic", LOG)


def logs(**named: Dataset) -> dict[str, tuple[Dataset, str]]:
    return {label: (dataset, data_digest(dataset)) for label, dataset in named.items()}


def test_the_file_holds_the_floors_and_what_they_are_of(tmp_path: Path, computed: list[int]) -> None:
    keep_floors(tmp_path, logs(log=log()))
    found = json.loads((tmp_path / NAME).read_text())
    assert found["log"]["key"] == floors_key(data_digest(log()))
    assert {name: found["log"][name] for name in ("popularity", "markov")} == floors(log())
    assert dict(_floors(tmp_path / NAME)["log"]) == floors(log())  # a report sees no key among them
    assert computed == [40]


def test_the_same_log_is_not_computed_again(tmp_path: Path, computed: list[int]) -> None:
    keep_floors(tmp_path, logs(log=log()))
    stamp = (tmp_path / NAME).stat().st_mtime_ns
    keep_floors(tmp_path, logs(log=log()))
    assert computed == [40]
    assert (tmp_path / NAME).stat().st_mtime_ns == stamp


def test_another_log_of_the_same_name_is(tmp_path: Path, computed: list[int]) -> None:
    keep_floors(tmp_path, logs(log=log()))
    cut = recent(log(), 5)
    keep_floors(tmp_path, logs(log=cut))
    assert computed == [40, 40]
    assert json.loads((tmp_path / NAME).read_text())["log"]["markov"] == floors(cut)["markov"]


def test_a_grid_that_gains_a_log_computes_the_new_one_alone(tmp_path: Path, computed: list[int]) -> None:
    keep_floors(tmp_path, logs(log=log()))
    small = log()
    few = replace(small, devices=small.devices[:9], sequences=small.sequences[:9])
    keep_floors(tmp_path, logs(log=log(), few=few))
    assert computed == [40, 9]
    assert list(json.loads((tmp_path / NAME).read_text())) == ["log", "few"]


@pytest.mark.parametrize("text", ["{", "[]", '{"log": 3}', '{"log": {"popularity": {"hr@10": 1.0}}}'])
def test_a_damaged_or_older_file_is_written_anew(tmp_path: Path, computed: list[int], text: str) -> None:
    (tmp_path / NAME).write_text(text)
    keep_floors(tmp_path, logs(log=log()))
    assert computed == [40]
    assert json.loads((tmp_path / NAME).read_text())["log"]["popularity"] == floors(log())["popularity"]


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (kept_floors, "PART", "valid"),
        (kept_floors, "FILTERED", False),
        (cut, "SHORTEST", 5),
        (rules, "CUTS", (5, 10)),
        (kept_floors, "_code", lambda: "changed"),
    ],
)
def test_the_key_follows_the_split_the_ranking_and_the_code(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, value: object
) -> None:
    before = floors_key("digest")
    assert floors_key("digest") == before != floors_key("other")
    monkeypatch.setattr(place, name, value)
    assert floors_key("digest") != before
