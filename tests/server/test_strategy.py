"""The Strategy as Flower sees it: start, messages, records."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp.strategy import Strategy

from client.app import app as client_app
from common.config import RunConfig
from common.errors import ConfigError
from common.seeding import generator
from common.tasks import GlobalModel
from emulation.local_grid import LocalGrid
from server.records.model_record import from_record, to_record
from server.strategy import RobustStrategy
from tests.server.federation import (
    ITEMS,
    Watch,
    config,
    node,
    run,
    same_model,
)


def strategy(settings: RunConfig, watch: Watch | None = None) -> RobustStrategy:
    return RobustStrategy(settings, ITEMS, [watch or Watch()])


def grid(nodes: int = 1) -> LocalGrid:
    return LocalGrid(client_app, [node(f"{i}/{nodes}") for i in range(nodes)])


def test_it_is_one_of_flowers_strategies() -> None:
    assert isinstance(strategy(config()), Strategy)


def test_flowers_start_runs_it() -> None:
    watch = Watch()
    one = strategy(config(), watch)
    begin = GlobalModel(
        torch.randn(one.pipeline.layout.total, generator=generator(0, "a")) / 10,
        torch.randn(ITEMS + 1, 4, generator=generator(0, "b")) / 10,
    )
    central: list[int] = []

    def evaluate(round_: int, arrays: ArrayRecord) -> MetricRecord:
        central.append(round_)
        return MetricRecord({"norm": float(from_record(arrays).encoder.norm())})

    result = one.start(grid(), to_record(begin), num_rounds=3, timeout=20, evaluate_fn=evaluate)
    assert [r.round for r in watch.rounds] == [1, 2, 3]
    assert sorted(result.train_metrics_clientapp) == [1, 2, 3]
    assert result.train_metrics_clientapp[1]["asked"] == 16
    assert sorted(result.evaluate_metrics_clientapp) == [2, 3]
    assert 0 <= float(result.evaluate_metrics_clientapp[3]["ndcg@10"]) <= 1  # type: ignore[arg-type]
    assert central == [1, 2, 3]
    final = from_record(result.arrays)
    assert torch.equal(final.table, one.state.model.table)
    gap = (final.table - begin.table).abs().max()
    assert 0 < gap < 0.1  # three small steps away from the arrays that were given


def test_zero_rounds_are_zero_rounds() -> None:
    watch = Watch()
    strategy(config(), watch).start(grid(), num_rounds=0)
    assert watch.rounds == []
    assert [e.split for e in watch.evaluations] == ["test"]


def test_initial_arrays_must_fit() -> None:
    one = strategy(config())
    wrong = GlobalModel(one.state.model.encoder, torch.zeros(1))
    with pytest.raises(ConfigError, match=r"initial table: torch.float32 \[1\]; expected .*\[31, 4\]"):
        one.start(grid(), to_record(wrong))
    assert one.state.round == 0


@pytest.mark.parametrize("name", ["train_config", "evaluate_config"])
def test_settings_beside_the_runs_own_are_refused(name: str) -> None:
    one, net = strategy(config()), grid()
    given: dict[str, ConfigRecord] = {name: ConfigRecord({"lr": 0.1, "epochs": 2})}
    with pytest.raises(ConfigError, match=rf"^{name}: given lr, epochs; .* only its RunConfig$"):
        one.start(net, **given)
    empty: dict[str, ConfigRecord] = {name: ConfigRecord()}  # Flower's own default
    one.start(net, num_rounds=0, **empty)


def test_more_rounds_than_the_rate_falls_over_are_refused() -> None:
    one = strategy(config("train.rounds=4"))
    with pytest.raises(ConfigError, match=r"^num_rounds: given 5; at most train\.rounds, which is 4$"):
        one.start(grid(), num_rounds=5)


def test_a_run_that_goes_on_takes_no_initial_arrays() -> None:
    one = strategy(config())
    one.start(grid(), num_rounds=1)
    with pytest.raises(ConfigError, match=r"^initial_arrays: given after round 1 of a run$"):
        one.start(grid(), to_record(one.state.model), num_rounds=2)


def test_full_and_device_negatives_run_too(tmp_path: Path) -> None:
    for name in ("full", "device"):
        watch = Watch()
        summary = run(config(f"train.negatives={name}"), tmp_path / name, listeners=[watch])
        assert not any(r.skipped for r in watch.rounds)
        assert f"negatives {name}" in summary["protocol"]
    assert not same_model(tmp_path / "full", tmp_path / "device")


def test_a_reply_that_nobody_asked_for_is_ignored() -> None:
    one = strategy(config())
    net = grid()
    one.wait_for_nodes(net)
    messages = one.configure_train(1, to_record(one.state.model), ConfigRecord(), net)
    (reply,) = net.send_and_receive(messages)
    stranger = Message(reply.content, reply_to=messages[0])
    stranger.metadata.__dict__["_src_node_id"] = 77
    arrays, metrics = one.aggregate_train(1, [stranger])
    assert arrays is None
    assert metrics is not None
    assert metrics["admitted"] == 0


def test_sums_that_nobody_asked_for_are_ignored() -> None:
    one, net = strategy(config()), grid()
    one.wait_for_nodes(net)
    messages = one.configure_evaluate(0, to_record(one.state.model), ConfigRecord(), net)
    (reply,) = net.send_and_receive(messages)
    stranger = Message(reply.content, reply_to=messages[0])
    stranger.metadata.__dict__["_src_node_id"] = 77
    assert one.aggregate_evaluate(0, [stranger]) is None
    assert one.aggregate_evaluate(0, [stranger, reply]) == one.aggregate_evaluate(0, [reply]) is not None


def test_the_record_of_a_model_is_a_copy() -> None:
    start = strategy(config()).state.model
    found = from_record(to_record(start))
    assert torch.equal(found.encoder, start.encoder)
    found.encoder.add_(1)
    assert not torch.equal(found.encoder, start.encoder)
    assert isinstance(to_record(start)["table"], Array)
