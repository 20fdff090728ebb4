"""Evaluation on a part of the devices while a run goes on, and on all at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Context, Message

from client.app import app as client_app
from common.errors import CheckpointError
from common.sampling import ALL, Sample
from common.tasks import Enrolment, EvaluateSums
from common.wire import decode_evaluate_task
from server.evaluation.collection import Collected, collect
from server.nodes.roster import Roster
from tests.server.federation import DEVICES, Watch, config, lines, node, run, same_model
from tests.server.test_lying_evaluation import reply, sums

SAMPLE = "eval.sample=10"
SALT = "5a" * 32


class Asked:
    """The ClientApp, and the samples that it was asked for."""

    def __init__(self) -> None:
        self.samples: list[tuple[str, Sample | None]] = []

    def __call__(self, message: Message, context: Context) -> Message:
        if message.metadata.message_type == "evaluate":
            task = decode_evaluate_task(message.content)
            self.samples.append((task.split, task.sample))
        return client_app(message, context)


def test_a_part_evaluates_on_the_way_and_all_at_the_end(tmp_path: Path) -> None:
    app, watch = Asked(), Watch()
    summary = run(config(SAMPLE, "eval.every=1"), tmp_path, app=app, listeners=[watch])
    found = [(e.round, e.split, e.devices, e.asked, e.enrolled) for e in watch.evaluations]
    assert found == [
        *((k, "valid", 10, 10, DEVICES) for k in (1, 2, 3)),
        *((4, split, DEVICES, DEVICES, DEVICES) for split in ("valid", "test")),
    ]
    assert len({sample for _, sample in app.samples[:3]}) == 1  # the same each time
    assert [sample for _, sample in app.samples[3:]] == [None, None]
    told = [line.get("sampled_devices") for line in lines(tmp_path, "metrics") if "split" in line]
    assert told == [10, 10, 10, None, None]
    assert "; progress on 10 of 40 devices" in summary["protocol"]
    assert summary["evaluated_devices"] == DEVICES


@pytest.mark.parametrize("size", [0, DEVICES, DEVICES + 1])
def test_a_sample_of_all_is_none(size: int, tmp_path: Path) -> None:
    watch = Watch()
    summary = run(config(f"eval.sample={size}"), tmp_path, listeners=[watch])
    assert {(e.devices, e.asked) for e in watch.evaluations} == {(DEVICES, DEVICES)}
    assert "progress" not in summary["protocol"]


def test_the_sample_is_the_same_on_one_node_and_on_four_and_changes_no_model(tmp_path: Path) -> None:
    watches = [Watch(), Watch(), Watch()]
    run(config(SAMPLE), tmp_path / "one", listeners=[watches[0]])
    run(config(SAMPLE), tmp_path / "four", [node(f"{k}/4") for k in range(4)], listeners=[watches[1]])
    run(config(), tmp_path / "all", listeners=[watches[2]])
    one, four, everyone = (watch.evaluations[0] for watch in watches)
    assert one.devices == four.devices == 10
    assert four.groups["all"] == pytest.approx(one.groups["all"], abs=1e-6)
    assert everyone.devices == DEVICES
    assert same_model(tmp_path / "one", tmp_path / "all")


def test_a_resumed_run_keeps_its_sample(tmp_path: Path) -> None:
    def pull(found: Any) -> bool:
        return bool(found.round == 3)

    app = Asked()
    with pytest.raises(InterruptedError):
        run(config(SAMPLE, "eval.every=1"), tmp_path, app=app, listeners=[Watch(pull)])
    with pytest.raises(CheckpointError, match=r"^eval\.sample was 10, given 12; [^\n]*valid are 0 and 10$"):
        run(config("eval.sample=12", "eval.every=1"), tmp_path, resume=True)
    run(config(SAMPLE, "eval.every=1"), tmp_path, app=app, resume=True)
    partial = [sample for _, sample in app.samples if sample is not None]
    assert len(partial) == 3
    assert len(set(partial)) == 1


def roster(*sizes: int) -> Roster:
    """Nodes 1, 2, … of so many devices each, of three interactions."""
    made, first = Roster(), 0
    for k, size in enumerate(sizes):
        made.nodes[k + 1] = Enrolment(torch.arange(first, first + size), torch.full((size,), 3).int())
        first += size
    return made


def judged(asked: Roster, parts: Mapping[int, EvaluateSums], sample: Sample) -> Collected:
    answers = [reply(node_, part) for node_, part in parts.items()]
    return collect(answers, config(), "r", 5, asked, "valid", sample)


def test_a_node_counts_for_no_more_devices_than_it_has_in_the_sample() -> None:
    asked = roster(100, 100, 100)
    sample = asked.evaluated(60, SALT)
    assert sample is not None
    inside = {name: int(sample.holds(e.devices).sum()) for name, e in asked.nodes.items()}
    assert sum(inside.values()) == 60
    honest = {name: sums(count, 50) for name, count in inside.items()}
    found = judged(asked, honest, sample)
    assert {line["verdict"] for line in found.audit} == {"admitted"}
    assert found.evaluation is not None
    assert (found.evaluation.devices, found.evaluation.asked, found.evaluation.enrolled) == (60, 60, 300)
    lied = judged(asked, honest | {2: sums(inside[2] + 1)}, sample)
    assert [line["verdict"] for line in lied.audit] == ["admitted", "refused", "admitted"]


def test_numbers_chosen_to_be_in_the_sample_count_like_the_allowance() -> None:
    """A node that comes when the salt is known: all of its devices are in the sample."""
    asked = roster(*[400] * 9)
    sample = asked.evaluated(360, SALT)
    assert sample is not None
    free = torch.arange(10_000, 20_000)
    chosen = free[sample.holds(free)][:400]
    assert len(chosen) == 400
    asked.nodes[10] = Enrolment(chosen, torch.full((400,), 3).int())
    parts = {name: sums(int(sample.holds(e.devices).sum()), 50) for name, e in asked.nodes.items()}
    found = judged(asked, parts | {10: sums(400)}, sample)
    assert found.evaluation is not None
    share = found.evaluation.groups["all"]["hr@10"]  # without a limit 400 of 760
    fair = asked.pool.allowance * 760 / 4000
    assert share <= (fair + 3 * fair**0.5) / 360
    assert [line["verdict"] for line in found.audit] == ["admitted"] * 9 + ["clipped"]


def test_the_sample_of_a_roster_stays() -> None:
    made = roster(50, 50)
    first = made.evaluated(20, SALT)
    made.nodes[3] = Enrolment(torch.arange(500, 600), torch.full((100,), 3).int())
    assert made.evaluated(20, SALT) == first
    again = Roster()
    again.membership.restore(made.membership.tensors())
    again.nodes = made.nodes
    assert again.evaluated(20, SALT) == first
    assert again.evaluated(0, SALT) is None
    assert roster(5).evaluated(9, SALT) == Sample(SALT, ALL)


def test_a_claim_of_many_numbers_empties_no_sample() -> None:
    """Eleven nodes of 90 devices, and one that claims a million: it is cut before the sample is drawn."""
    asked = roster(*[90] * 11, 200_000)
    sample = asked.evaluated(300, "5a17")
    assert sample is not None
    honest = sum(int(sample.holds(asked.nodes[node].devices).sum()) for node in list(asked.nodes)[:11])
    assert honest > 200
