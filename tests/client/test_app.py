"""The ClientApp over LocalGrid: enrol, train, evaluate, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from flwr.app import Message, MessageType, RecordDict

from attacks import build_attack
from attacks.app import app as attack_app
from attacks.base import View
from client.app import app, lasting_key
from client.cohort import Cohort
from client.fleet import malicious_devices, open_fleet
from client.node_settings import read_settings
from client.privacy import protect
from client.ranking import evaluate
from common import wire
from common.config import ClientConfig
from common.models import build_model, initial
from common.seeding import generator, subkey
from common.tasks import EvaluateTask, TrainTask
from common.updates import DeviceUpdates
from common.wire import SumsSpec, UpdateSpec
from emulation.local_grid import LocalGrid
from tests.client import samples

LOG = {
    "data": "synthetic",
    "path": f"devices=12,items={samples.ITEMS},length=6",
    "repeatable": True,
    "negatives": "slice,full,device",
    "seed": 5,
}
EVERYONE = open_fleet(read_settings(LOG))


def ask(content: RecordDict, kind: str, config: dict[str, Any] | None = None) -> Message:
    """The reply of one node to one message."""
    node = LOG if config is None else {**LOG, **config}
    grid = LocalGrid(attack_app if "attack" in node else app, [node], serialise=True)
    return grid.send_and_receive([Message(content, 1, kind)])[0]


def a_task(devices: list[int] | None = None, **train: Any) -> TrainTask:
    numbers = EVERYONE.numbers if devices is None else devices
    return replace(samples.task(**train), devices=torch.tensor(numbers))


def spec(task: TrainTask) -> UpdateSpec:
    return UpdateSpec(
        run=task.run,
        round=task.round,
        num_parameters=len(task.model.encoder),
        dim=samples.DIM,
        items=task.items,
        num_items=samples.ITEMS,
        devices=task.devices,
        negatives=task.train_config.negatives,
    )


def trained(task: TrainTask, config: dict[str, Any] | None = None) -> DeviceUpdates:
    reply = ask(wire.encode_train_task(task), MessageType.TRAIN, config)
    assert not reply.has_error(), reply.error
    return wire.decode_updates(reply.content, spec(task))


def everyone(task: TrainTask, numbers: Sequence[int]) -> Cohort:
    return Cohort(task, numbers, [EVERYONE.train(n) for n in numbers], key=5)


def honest(task: TrainTask, numbers: Sequence[int] | None = None) -> Cohort:
    """Those with something to predict in the slice."""
    cohort = everyone(task, task.devices.tolist() if numbers is None else numbers)
    return cohort.take(cohort.busy())


def equal(a: DeviceUpdates, b: DeviceUpdates) -> bool:
    return (
        torch.equal(a.encoder, b.encoder)
        and torch.equal(a.rows, b.rows)
        and torch.equal(a.items, b.items)
        and torch.equal(a.device, b.device)
        and torch.equal(a.history, b.history)
    )


def failure(reply: Message) -> str:
    assert reply.has_error()
    return str(reply.error.reason)


def test_a_node_enrols_its_devices_with_the_length_they_train_on() -> None:
    reply = ask(RecordDict(), MessageType.QUERY, {"part": "1/3"})
    enrolled = wire.decode_enrolment(reply.content, 12)
    mine = open_fleet(read_settings({**LOG, "part": "1/3"}))
    assert enrolled.devices.tolist() == list(mine.numbers)
    assert enrolled.history.tolist() == [len(mine.train(n)) for n in mine.numbers]


@pytest.mark.parametrize("negatives", ["slice", "full", "device"])
def test_training_answers_with_one_update_a_device(negatives: str) -> None:
    task = a_task(negatives=negatives, window="random", local_steps=2)
    found = trained(task)
    assert equal(found, honest(task).train())
    assert found.idle is not None
    assert sorted([*found.device.tolist(), *found.idle.tolist()]) == EVERYONE.numbers.tolist()
    assert (len(found.idle) > 0) == (negatives == "slice")


@pytest.mark.parametrize("private", [{}, {"clip": 1.0, "noise": 0.1}])
def test_a_device_with_nothing_to_predict_sends_its_number_alone(private: dict[str, float]) -> None:
    """Unless it sends noise: nobody can tell that it had nothing to predict, and it does not say so."""
    task = a_task(negatives="slice")
    task = replace(task, client_config=ClientConfig.model_validate(private))
    silent = [number for number in task.devices.tolist() if not everyone(task, [number]).train().rows.any()]
    assert 0 < len(silent) < len(task.devices)
    found = trained(task)
    assert found.idle is not None
    assert found.idle.tolist() == ([] if private else silent)
    assert bool(found.rows.any(dim=2).any(dim=1).all())


def test_only_the_devices_asked_for_are_trained() -> None:
    some = list(EVERYONE.numbers[2:5])
    task = a_task(some)
    assert equal(trained(task), honest(task).train())


def test_devices_of_others_are_left_out() -> None:
    mine = open_fleet(read_settings({**LOG, "part": "0/2"})).numbers
    found = trained(a_task(negatives="full"), {"part": "0/2"})
    assert found.device.tolist() == list(mine)


def test_a_task_for_no_device_of_the_node_fails() -> None:
    stranger = a_task([max(EVERYONE.numbers) + 1])
    assert "none of the devices" in failure(ask(wire.encode_train_task(stranger), MessageType.TRAIN))


def test_half_precision_is_close_and_smaller() -> None:
    task = a_task(list(EVERYONE.numbers[:4]))
    half = replace(task, wire_dtype="float16")
    reply = ask(wire.encode_train_task(half), MessageType.TRAIN)
    found = wire.decode_updates(reply.content, spec(task))
    exact = honest(task).train()
    largest = exact.rows.abs().amax((1, 2), keepdim=True)
    assert bool(((found.rows - exact.rows).abs() <= largest * 2**-11 * 1.01).all())
    assert not torch.equal(found.rows, exact.rows)


def test_clipping_and_noise_are_applied_on_the_device() -> None:
    protected = replace(a_task(), client_config=ClientConfig(clip=0.01, noise=0.5))
    cohort = everyone(protected, protected.devices.tolist())  # under noise nobody is idle
    numbers = protected.devices.tolist()
    keys = [subkey(5, "noise", 3, n) for n in numbers]
    lasting = [subkey(5, "decoys", n) for n in numbers]
    expected = protect(cohort.train(), protected.client_config, keys, lasting)
    assert equal(trained(protected), expected)
    assert not equal(trained(protected), cohort.train())


def test_a_node_trains_by_the_protocols_and_under_the_noise_that_its_owner_allows() -> None:
    """Under `device` the numbers of the rows name the history; noise that the server sets to 0 is none."""
    by_device = a_task(negatives="device", device_negatives=1)
    assert not ask(wire.encode_train_task(by_device), MessageType.TRAIN).has_error()
    told = failure(ask(wire.encode_train_task(by_device), MessageType.TRAIN, {"negatives": "slice,full"}))
    assert "negatives: 'device' is not what this node's config allows: slice, full" in told
    bare = {key: value for key, value in LOG.items() if key != "negatives"}
    content = wire.encode_train_task(by_device)
    reply = LocalGrid(app, [bare]).send_and_receive([Message(content, 1, MessageType.TRAIN)])[0]
    assert "'device' is not what this node's config allows" in failure(reply)  # the default
    noisy = replace(a_task(), client_config=ClientConfig(clip=0.5, noise=0.2))
    for config in ({"min_noise": 0.1}, {"min_noise": 0}):
        assert not ask(wire.encode_train_task(noisy), MessageType.TRAIN, config).has_error()
    huge = ClientConfig(clip=1e12, noise=1e-13)  # the product is what was asked for, and hides nothing
    for weaker in (
        a_task(),
        *(replace(noisy, client_config=c) for c in (ClientConfig(clip=2, noise=0.09), huge)),
    ):
        told = failure(ask(wire.encode_train_task(weaker), MessageType.TRAIN, {"min_noise": 0.1}))
        assert "and this node's config asks for 0.1" in told
    wrong = {"negatives": "none"}, {"min_noise": -1}
    words = "valid: slice, full, device", "min_noise is -1"
    for config, word in zip(wrong, words, strict=True):
        assert word in failure(ask(wire.encode_train_task(a_task()), MessageType.TRAIN, config))


def test_decoys_are_the_same_in_every_round_of_a_run_and_known_to_nobody() -> None:
    """Their mean over rounds would give them away; what the node draws them from stays in its own state."""
    memory = RecordDict()
    first = lasting_key(memory, b"first" * 6)
    assert lasting_key(memory, b"later" * 6) == first == b"first" * 6
    assert lasting_key(RecordDict(), b"later" * 6) == b"later" * 6
    assert lasting_key(memory, 7) == 7


def another_catalogue() -> RecordDict:
    task = a_task()
    start, _ = initial(task.model_config, samples.ITEMS + 1, generator(0))
    return wire.encode_train_task(replace(task, model=start))


def test_a_model_of_another_catalogue_is_refused() -> None:
    told = failure(ask(another_catalogue(), MessageType.TRAIN))
    assert f"{samples.ITEMS + 1} items" in told
    assert f"catalogue {samples.ITEMS}" in told
    task = an_evaluation()
    start, _ = initial(task.model_config, samples.ITEMS - 1, generator(0))
    reply = ask(wire.encode_evaluate_task(replace(task, model=start)), MessageType.EVALUATE)
    assert "catalogue" in failure(reply)


def test_a_message_that_is_no_task_is_refused() -> None:
    assert "WireError" in failure(ask(RecordDict(), MessageType.TRAIN))
    assert "WireError" in failure(ask(RecordDict(), MessageType.EVALUATE))


def an_evaluation(split: str = "test") -> EvaluateTask:
    task = a_task()
    return EvaluateTask("r", 3, task.model, task.model_config, split, (4, 9), (2, 4, 6))  # type: ignore[arg-type]


SUMS = SumsSpec("r", 3, torch.full((12,), 9), targets=2)
OPEN = {"exposure_targets": "4,9", "min_group": 1}
"""A node that tells all that :func:`an_evaluation` asks for."""


@pytest.mark.parametrize("split", ["valid", "test"])
def test_evaluation_answers_with_the_sums_of_the_split(split: str) -> None:
    task = an_evaluation(split)
    reply = ask(wire.encode_evaluate_task(task), MessageType.EVALUATE, OPEN)
    lengths = torch.tensor([len(history) for history in EVERYONE.histories(split)[0]])
    found = wire.decode_evaluate_sums(reply.content, replace(SUMS, histories=lengths))
    histories, answers = EVERYONE.histories(split)
    model = build_model(task.model_config).eval()
    with torch.no_grad():
        expected = evaluate(model, task.model, histories, answers, (4, 9), (2, 4, 6), samples.MAX_LEN)
    for name in ("metrics", "count", "exposure", "eligible"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
    assert int(found.count[0]) == len(answers) > 0


def malicious(name: str = "sign_flip", **more: Any) -> dict[str, Any]:
    return {"attack": name, "targets": "3,4", **more}


def test_a_malicious_node_abstains_from_evaluation() -> None:
    reply = ask(wire.encode_evaluate_task(an_evaluation()), MessageType.EVALUATE, malicious())
    found = wire.decode_evaluate_sums(reply.content, SUMS)
    assert not bool(found.count.any())
    assert not bool(found.metrics.any())
    assert not bool(found.eligible.any())


def test_a_malicious_node_attacks_with_its_own_parameters() -> None:
    task = a_task()
    found = trained(task, malicious(params=json.dumps({"scale": 2.5})))
    plain = everyone(task, task.devices.tolist()).train()
    torch.testing.assert_close(found.rows, -2.5 * plain.rows)
    torch.testing.assert_close(found.encoder, -2.5 * plain.encoder)


def test_a_malicious_node_is_honest_until_its_round() -> None:
    task = a_task()  # round 3
    assert equal(trained(task, malicious(start_round=4)), honest(task).train())
    assert not equal(trained(task, malicious(start_round=3)), honest(task).train())


def test_a_data_poisoner_trains_on_what_it_made_up() -> None:
    task = a_task()
    cohort = everyone(task, task.devices.tolist())
    attack = build_attack("label_to_target", {})
    view = View(task, (3, 4), cohort, generator(0), RecordDict())
    expected = cohort.train(lambda batch, devices: attack.relabel(batch, view))
    assert equal(trained(task, malicious("label_to_target")), expected)


def test_with_own_negatives_an_attacker_holds_the_rows_of_its_targets() -> None:
    """Otherwise it could not train them at all, and the comparison with the classic protocol would lie."""
    task = a_task(negatives="device", device_negatives=2)
    found = trained(task, malicious("label_to_target"))
    assert found.touched is not None
    place = torch.isin(found.items, torch.tensor([3, 4], dtype=torch.int32))
    assert bool(found.touched[:, place].all())
    assert bool(found.rows[:, place].any(2)[found.history > 2].all())


def test_an_attack_changes_nothing_for_honest_nodes() -> None:
    share = {"share": 0.5}
    configs = [{**LOG, **share, "part": "honest"}, {**LOG, **share, "part": "malicious", **malicious()}]
    grid = LocalGrid(attack_app, configs, serialise=True)
    task = a_task()
    content = [wire.encode_train_task(task) for _ in configs]
    replies = grid.send_and_receive([Message(c, i, MessageType.TRAIN) for i, c in enumerate(content, 1)])
    found = wire.decode_updates(replies[0].content, spec(task))
    bad = {EVERYONE.numbers[i] for i in malicious_devices(12, 0.5, 5)}
    mine = [n for n in EVERYONE.numbers if n not in bad]
    assert equal(found, honest(task, mine).train())


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"attack": "sign_flop"}, "did you mean 'sign_flip'?"),
        (malicious(params='{"size": 2}'), "valid: scale"),
        (malicious(params="{"), "params is '{'; expected JSON"),
        (malicious(targets="3,x"), "targets: the log has no item 'x'"),
        ({"part": "5/3"}, "valid: all, honest, malicious, public"),
        ({"dta": 1}, "unknown key 'dta'"),
    ],
)
def test_a_wrong_node_config_is_named_in_the_reply(config: dict[str, Any], told: str) -> None:
    assert told in failure(ask(wire.encode_train_task(a_task()), MessageType.TRAIN, config))


@pytest.mark.parametrize("section", ["model", "client"])
@pytest.mark.parametrize("more", [{}, {"attack": "sign_flip"}], ids=["honest", "malicious"])
def test_a_server_cannot_make_a_node_import_what_its_owner_did_not_name(
    section: str, more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strangers.py").write_text(
        "from common.models import GRU4Rec\nfrom client.regularisers import Anchor\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    name = "strangers:GRU4Rec" if section == "model" else "strangers:Anchor"
    task = a_task(model=samples.model_config(name="gru4rec"))
    if section == "model":
        task = replace(task, model_config=samples.model_config(name=name))
    else:
        task = replace(task, client_config=ClientConfig(regularisers=(name,)))  # type: ignore[arg-type]
    for allowed in ("", "other:Class"):
        reply = ask(wire.encode_train_task(task), MessageType.TRAIN, {**more, "components": allowed})
        assert f"meta.{section}_config: not_allowed: '{name}' is not among" in reply.error.reason
    assert "strangers" not in sys.modules
    try:
        reply = ask(wire.encode_train_task(task), MessageType.TRAIN, {**more, "components": f"x:Y, {name}"})
        assert not reply.has_error(), reply.error
        assert "strangers" in sys.modules
    finally:
        sys.modules.pop("strangers", None)


def test_an_evaluation_names_no_stranger_either() -> None:
    model_config = samples.model_config(name="strangers:GRU4Rec")
    sent = EvaluateTask("r", 3, a_task().model, model_config, "valid", (), (1, 2, 3))
    for more in ({}, {"attack": "sign_flip"}):
        reply = ask(wire.encode_evaluate_task(sent), MessageType.EVALUATE, more)
        assert "not_allowed" in reply.error.reason
