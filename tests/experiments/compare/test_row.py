"""What a run's files say, as one row."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from common.data import load, split
from emulation.federation import federate, malicious_numbers
from emulation.targets import with_targets
from experiments.compare.row import row, trust
from tests.server.federation import LOG, config, lines

DATA = load("synthetic", LOG)
SETTINGS = with_targets(
    config("attack.name=nan", "attack.share=0.3", "attack.start_round=3", "strategy.aggregator=sieve"), DATA
)


def test_a_row_holds_the_summary_and_the_rounds_under_attack(tmp_path: Path) -> None:
    summary = federate(SETTINGS, tmp_path)
    found = row(tmp_path, SETTINGS, DATA)
    assert found["test.ndcg@10"] == summary["test"]["ndcg@10"]
    assert found["valid.mrr"] == summary["valid"]["mrr"]
    assert found["er@10"] == summary["er@10"]
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
