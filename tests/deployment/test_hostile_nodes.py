"""Hostile nodes of several kinds in one run on a real SuperLink: what each gains, and what it costs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Message
from safetensors.torch import load_file

from client.app import ranked
from client.fleet import open_fleet
from client.node import load_app
from client.node_settings import read_settings
from common.printable import LONGEST, printable_log
from common.tasks import METRICS, EvaluateTask, GlobalModel, TrainTask
from experiments.deployed import Plan
from server.nodes.silence import RETRY_ROUNDS
from server.round.state import server_key
from tests.common.hostile_text import ATTACKS, FORGED, HOSTILE, check_harmless
from tests.deployment.cast import Claimant, Heckler, Role, Sleeper, Steerer, play
from tests.deployment.federation import Line, audit_of, devices_of, federation, lines, rounds
from tests.server.steering import draws, steered

pytestmark = pytest.mark.deployment
DEADLINE_S, ROUNDS, DRAWN = 5.0, 12, 44
HELD, NODES = 40, 5
"""Five logs of forty devices: of an honest node, two sleepers, a steerer and a thief."""

ALLOWED = HELD * 3 // 2
"""What one node may stand for among so few: half more than the median."""

TARGETS = 3, 7
"""What the owner of the honest node lets it tell the exposure of."""

MILLION = 10**6
FIRST, SECOND = 2, 3
"""The rounds in which the two sleepers begin; the steerer begins with the first."""

BACK = FIRST + RETRY_ROUNDS
GREEN_INFO = "\x1b[92mINFO \x1b[0m:"
"""How Flower begins a line."""


class Herald(Claimant):
    """A claimant that brings the thief in while the first round lasts: it comes when the others are here."""

    def __init__(self, fleet: str, cast: list[Role], thief: list[int]) -> None:
        super().__init__(fleet, torch.arange(MILLION, 2 * MILLION), MILLION)
        self.fleet, self.cast, self.numbers = fleet, cast, thief

    def train(self, message: Message, task: TrainTask) -> Message | None:
        if task.round == 1:
            self.cast.append(Claimant(self.fleet, torch.tensor(self.numbers), 1000))
        return super().train(message, task)


@dataclass(frozen=True)
class Found:
    """What the run left. logs: of the run, the SuperLink and the honest node; own: devices of each log;
    others: those that may be drawn when the steerer is back, less its own.
    """

    plan: Plan
    out: Path
    logs: tuple[str, str, str]
    own: list[list[int]]
    million: Claimant
    thief: Claimant
    first: Sleeper
    second: Sleeper
    steerer: Steerer
    others: list[int]

    def audit(self, role: Role) -> list[Line]:
        return [line for line in lines(self.out / "audit.jsonl") if line["node"] == role.node.id]

    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "summary.json").read_text())
        return found

    def late(self, role: Role) -> list[int]:
        return [e["round"] for e in self.audit(role) if "no reply by the deadline" in e["detail"]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """One run, in which every kind takes part."""
    load_app("client.app", "app")  # else the first round with a deadline imports seconds of torch
    with federation(tmp_path_factory.mktemp("hostile")) as place:
        told = ["attack.name=nan", f"train.rounds={ROUNDS}", f"train.devices_per_round={DRAWN}"]
        told += [f"strategy.deadline_s={DEADLINE_S}", f"eval.targets={list(TARGETS)}"]
        plan, fleet, out = place.plan(1, NODES - 1, *told), place.local.fleet, place.folder / "out"
        own = devices_of(plan)
        growth = plan.config.strategy.newcomer_rounds
        grown = HELD * (BACK - FIRST) // growth  # the thief comes in round FIRST and gains its share
        others = sorted([*own[0], *own[1], *own[4][:grown], *range(MILLION, MILLION + ALLOWED)])
        claim = steered(server_key(plan.config), BACK, others, HELD, DRAWN)
        paths = [str(node["path"]) for node in plan.nodes]
        first, second = Sleeper(fleet, paths[1], FIRST), Sleeper(fleet, paths[2], SECOND)
        steerer = Steerer(fleet, paths[3], FIRST, torch.tensor(claim))
        cast: list[Role] = [first, second, steerer]
        million = Herald(fleet, cast, sorted([*own[0], *own[4]]))
        text = HOSTILE + FORGED.replace("INFO :", f"\n{GREEN_INFO}") + "\n"
        cast += [million, Heckler(fleet, text, ATTACKS["huge"])]
        node = place.local.warm_node(plan.nodes[0])
        asks = json.dumps(list(range(1, place.data.num_items + 1)))  # the server wants to know of every item
        run = place.local.submit(place.app, {**plan.run_config(out), "eval.targets": asks})
        play(cast, lambda: run.popen.poll() is None)
        place.finish(run)
        (thief,) = [role for role in cast if isinstance(role, Claimant) and role is not million]
        logs = run.text(), place.local.superlinks[0].text(), node.text()
        yield Found(plan, out, logs, own, million, thief, first, second, steerer, others)


def test_a_million_devices_are_cut_to_what_one_node_may_stand_for(found: Found) -> None:
    (cut,) = [e for e in found.audit(found.million) if e["reason"] == "quota" and "evaluation" not in e]
    assert cut["detail"] == f"claims {MILLION} devices, cut to {ALLOWED} (strategy.quota)"
    asked = found.million.asked
    assert set(asked) == set(range(1, ROUNDS + 1))
    assert max(d for devices in asked.values() for d in devices) < MILLION + ALLOWED
    fair = DRAWN * ALLOWED / (ALLOWED + 4 * HELD)
    assert len(asked[1]) < fair + 4 * fair**0.5


def test_numbers_of_another_node_are_refused_and_said(found: Found) -> None:
    (line,) = [e for e in found.audit(found.thief) if e["reason"] == "duplicate"]
    assert (line["round"], line["verdict"]) == (FIRST, "refused")
    asked = {d for devices in found.thief.asked.values() for d in devices}
    assert asked
    assert asked <= set(found.own[4])
    heard = {e["node"] for e in audit_of(found.out) if e["device"] in found.own[0]}
    (holder,) = heard  # of the honest node's devices nobody else speaks
    first = found.own[0][0]
    assert line["detail"] == f"claims {HELD} devices of other nodes, such as {first} of node {holder}"


def test_lies_about_an_evaluation_move_it_by_their_share(found: Found) -> None:
    """A million lucky devices count as what their node may stand for; more than were enrolled as none."""
    told = {
        name: [e for e in found.audit(role) if e.get("evaluation") == "test"]
        for name, role in (("million", found.million), ("thief", found.thief))
    }
    assert [(e["verdict"], e["reason"]) for e in told["million"]] == [("clipped", "quota")]
    assert [(e["verdict"], e["reason"]) for e in told["thief"]] == [("refused", "range")]
    summary = found.summary()
    assert summary["evaluated_devices"] == HELD + ALLOWED
    model = load_file(found.out / "model.safetensors")
    shared, settings = GlobalModel(model["encoder"], model["item_table"]), found.plan.config.model
    task = EvaluateTask("run", ROUNDS, shared, settings, "test", (), (0, 0, 0))
    with torch.no_grad():
        true = ranked(task, open_fleet(read_settings(found.plan.nodes[0]))).metrics[0]
    for name, hits in zip(METRICS, true.tolist(), strict=True):
        assert summary["test"][name] == pytest.approx((hits + ALLOWED) / (HELD + ALLOWED), abs=1e-4), name


def test_an_error_at_enrolment_neither_acts_nor_forges_a_line(found: Found) -> None:
    for log in found.logs[:2]:
        plain = log.replace("\x1b[92m", "").replace("\x1b[93m", "").replace("\x1b[0m", "")
        check_harmless(plain.replace("\t", " "), LONGEST + 50)
    run = found.logs[0].split("\n")
    repeated = [printable_log(line) for line in run if "PWNED" in line or "round 99 of" in line]
    assert repeated
    assert all(re.search(r"node \d+ did not enrol: ", line) for line in repeated)
    assert max(map(len, repeated)) < LONGEST / 2
    assert len(found.logs[0]) < 1_000_000


def test_nodes_that_hold_their_replies_in_turn_pay_for_it_themselves(found: Found) -> None:
    """Each holds up the round of its turn and the one after a rest; the second rest is twice as long."""
    for role, since in ((found.first, FIRST), (found.second, SECOND)):
        assert found.late(role) == [since, since + RETRY_ROUNDS]
        assert sorted(role.asked) == [*range(1, since + 1), since + RETRY_ROUNDS]
        held = [e["seconds_held"] for e in found.audit(role) if e["round"] in found.late(role)]
        assert all(DEADLINE_S / 2 < seconds <= DEADLINE_S + 1 for seconds in held)
    # Of the devices that the steerer came with it may still have some; it is silent when one is drawn.
    assert found.late(found.steerer)[0] == FIRST
    assert len(found.late(found.steerer)) <= 2
    silent = {round_ for role in (found.first, found.second, found.steerer) for round_ in found.late(role)}
    assert {FIRST, SECOND, BACK, SECOND + RETRY_ROUNDS} <= silent
    assert {line["round"] for line in rounds(found.out) if line["seconds"] > DEADLINE_S} == silent
    assert not any(line["skipped"] for line in rounds(found.out))


def test_enrolling_again_with_numbers_that_will_be_drawn_brings_none_of_them(found: Found) -> None:
    steerer, own = found.steerer, set(found.own[3])
    claim = steerer.claim.tolist()
    gained = draws(server_key(found.plan.config), BACK, found.others, claim, DRAWN)
    fair = DRAWN * HELD / (len(found.others) + HELD)
    assert gained > 1.5 * fair  # where numbers may be chosen: else this test shows nothing
    (line,) = [e for e in found.audit(steerer) if e["reason"] == "unknown_device"]
    assert (line["round"], line["verdict"]) == (BACK, "refused")
    assert line["detail"] == f"claims {len(set(claim) - own)} devices that it did not come with"
    assert {d for devices in steerer.asked.values() for d in devices} <= own
    assert set(steerer.asked.get(BACK, [])) <= own & set(claim)


def test_a_server_that_asks_for_the_exposure_of_every_item_is_told_of_those_allowed(found: Found) -> None:
    assert sorted(map(int, found.summary()["exposure_by_target"])) == list(TARGETS)
    asked = [line for line in found.logs[2].split("\n") if "the server asks for the exposure of" in line]
    assert len(asked) == 1
    assert "of 118 items that exposure_targets does not name, such as 1" in asked[0]
