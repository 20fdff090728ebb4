"""What a run's files say, as one row; and floors, computed once a log until what they come from changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from common.data import Dataset, content_digest, cut, load, recent, split
from emulation.federation import federate, malicious_numbers
from emulation.targets import with_targets
from experiments import floors as rules
from experiments.compare import results
from experiments.compare.results import FLOORS, floors_key, keep_floors, row, trust
from experiments.floors import floors
from experiments.report.reading import _floors
from tests.server.federation import LOG, config, lines

DATA = load("synthetic", LOG)
SETTINGS = with_targets(
    config(
        *("attack.name=nan", "attack.share=0.3", "attack.start_round=3", "strategy.aggregator=sieve"),
        "eval.group=2",
    ),
    DATA,
)


def test_a_row_holds_the_summary_and_the_rounds_under_attack(tmp_path: Path) -> None:
    summary = federate(SETTINGS, tmp_path)
    found = row(tmp_path, SETTINGS, DATA)
    assert found["test.ndcg@10"] == summary["test"]["ndcg@10"]
    assert found["valid.mrr"] == summary["valid"]["mrr"]
    assert found["er@10"] == summary["er@10"]
    assert found["er_group@10"] == summary["er_group@10"]
    assert found["q1.hr@10"] == summary["quartiles"]["q1"]["hr@10"]
    assert found["targets"] == ",".join(map(str, summary["targets"]))
    assert (found["rounds"], found["devices_per_round"], found["start_round"]) == (4, 16, 3)
    attacked = [a for a in lines(tmp_path, "audit") if a["round"] >= 3 and a["reason"] != "idle"]
    refused = [a for a in attacked if a["verdict"] == "refused"]
    assert refused
    assert found["rejected"] == pytest.approx(len(refused) / len(attacked))
    assert found["weight.malicious"] is None  # nothing of theirs was ever weighed
    shares = [m["clipped_rows"] for m in lines(tmp_path, "metrics") if "split" not in m and m["round"] >= 3]
    assert found["clipped_rows"] == pytest.approx(fmean(shares))


def test_weights_are_relative_to_an_equal_share() -> None:
    bad = malicious_numbers(SETTINGS, DATA)
    length = {int(n): len(split(s).train) for n, s in zip(DATA.devices, DATA.sequences, strict=True)}
    honest = sorted(set(length) - bad, key=lambda n: length[n])
    shortest, longest, villain = honest[0], honest[-1], min(bad)

    def line(device: int, weight: float) -> dict[str, object]:
        return {"round": 5, "device": device, "weight": weight, "verdict": "admitted", "reason": ""}

    audit = [line(shortest, 0.5), line(longest, 0.5), line(villain, 0.0), line(honest[1], 0.0)]
    audit.append({"round": 5, "device": villain, "verdict": "refused", "reason": "nan"})
    audit.append({"round": 5, "device": villain, "verdict": "refused", "reason": "idle"})
    found = trust(audit, SETTINGS, DATA)
    assert found["weight.malicious"] == 0
    assert found["weight.honest"] == pytest.approx(4 / 3)
    assert found["rejected"] == pytest.approx(1 / 5)
    assert found["weight.q4"] == pytest.approx(2)


def test_a_rule_without_weights_leaves_them_empty() -> None:
    found = trust([{"round": 1, "device": 1, "verdict": "admitted", "reason": ""}], SETTINGS, DATA)
    assert all(found[f"weight.{name}"] is None for name in ("honest", "malicious", "q1", "q2", "q3", "q4"))
    assert found["rejected"] == 0
    assert trust([], SETTINGS, DATA)["rejected"] is None


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
    return {label: (dataset, content_digest(dataset)) for label, dataset in named.items()}


def test_the_file_holds_the_floors_and_what_they_are_of(tmp_path: Path, computed: list[int]) -> None:
    keep_floors(tmp_path, logs(log=log()))
    found = json.loads((tmp_path / FLOORS).read_text())
    assert found["log"]["key"] == floors_key(content_digest(log()))
    assert {name: found["log"][name] for name in ("popularity", "markov")} == floors(log())
    assert dict(_floors(tmp_path / FLOORS)["log"]) == floors(log())  # a report sees no key among them
    assert computed == [40]


def test_the_same_log_is_not_computed_again(tmp_path: Path, computed: list[int]) -> None:
    keep_floors(tmp_path, logs(log=log()))
    stamp = (tmp_path / FLOORS).stat().st_mtime_ns
    keep_floors(tmp_path, logs(log=log()))
    assert computed == [40]
    assert (tmp_path / FLOORS).stat().st_mtime_ns == stamp


def test_another_log_of_the_same_name_is(tmp_path: Path, computed: list[int]) -> None:
    keep_floors(tmp_path, logs(log=log()))
    cut = recent(log(), 5)
    keep_floors(tmp_path, logs(log=cut))
    assert computed == [40, 40]
    assert json.loads((tmp_path / FLOORS).read_text())["log"]["markov"] == floors(cut)["markov"]


def test_a_grid_that_gains_a_log_computes_the_new_one_alone(tmp_path: Path, computed: list[int]) -> None:
    keep_floors(tmp_path, logs(log=log()))
    small = log()
    few = replace(small, devices=small.devices[:9], sequences=small.sequences[:9])
    keep_floors(tmp_path, logs(log=log(), few=few))
    assert computed == [40, 9]
    assert list(json.loads((tmp_path / FLOORS).read_text())) == ["log", "few"]


@pytest.mark.parametrize("text", ["{", "[]", '{"log": 3}', '{"log": {"popularity": {"hr@10": 1.0}}}'])
def test_a_damaged_or_older_file_is_written_anew(tmp_path: Path, computed: list[int], text: str) -> None:
    (tmp_path / FLOORS).write_text(text)
    keep_floors(tmp_path, logs(log=log()))
    assert computed == [40]
    assert json.loads((tmp_path / FLOORS).read_text())["log"]["popularity"] == floors(log())["popularity"]


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (results, "PART", "valid"),
        (results, "FILTERED", False),
        (cut, "SHORTEST", 5),
        (results, "ACCURACY", ("hr@5", "hr@10")),
        (results, "_code", lambda: "changed"),
    ],
)
def test_the_key_follows_the_split_the_ranking_and_the_code(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, value: object
) -> None:
    before = floors_key("digest")
    assert floors_key("digest") == before != floors_key("other")
    monkeypatch.setattr(place, name, value)
    assert floors_key("digest") != before
