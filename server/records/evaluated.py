"""What a summary says of evaluations, and whether a run's numbers mean anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.data.cut import SHORTEST
from common.errors import RunError
from server.records.own_ids import OwnIds
from server.records.report import Evaluation


def results(evaluations: Mapping[str, Evaluation], own: OwnIds) -> dict[str, Any]:
    """The means of each split, by its name, and of the test items exposure and quartiles."""
    found: dict[str, Any] = {}
    for split, evaluation in evaluations.items():
        found[split] = evaluation.groups["all"]
        found |= {f"{split}_{name}": value for name, value in beside_means(evaluation).items()}
    if (last := evaluations.get("test")) is not None:
        found |= last.exposure
        if last.by_target:
            found["exposure_by_target"] = {own.item(n): one for n, one in last.by_target.items()}
        found["quartiles"] = {group: means for group, means in last.groups.items() if group != "all"}
        found["evaluated_devices"] = last.devices
    return found


def beside_means(evaluation: Evaluation) -> dict[str, Any]:
    """What stands beside the means, where there is any: over nodes, and of randomised response."""
    found: dict[str, Any] = {"over_nodes": evaluation.over_nodes} if evaluation.over_nodes else {}
    if evaluation.asked < evaluation.enrolled:
        found |= {"sampled_devices": evaluation.asked}
    if evaluation.randomised:
        found |= {"randomised_devices": evaluation.randomised, "widened": evaluation.widened}
    return found


def check_trained(metrics: Path) -> None:
    """Raise RunError where all rounds of ``metrics.jsonl`` were skipped."""
    rounds, skipped, why = 0, 0, ""
    with metrics.open(encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            if "split" not in line:
                rounds, skipped = rounds + 1, skipped + bool(line["skipped"])
                why = line.get("why", why)
    if rounds and skipped == rounds:
        lost = f"all {rounds} rounds were skipped, the last one"
        lost = "the only round was skipped" if rounds == 1 else lost
        raise RunError(f"nobody trained: {lost}: {why}")


def check_evaluated(evaluations: Mapping[str, Evaluation], audit: Path) -> None:
    """Raise RunError where no device has answered for the test items; ``audit.jsonl`` says why."""
    if "test" not in evaluations:
        raise RunError(
            f"nobody was evaluated: no device with at least {SHORTEST} interactions answered; "
            f"{audit} has the reason of each node"
        )
