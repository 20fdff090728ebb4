"""The global time split: by hand, on nodes as where the log is whole, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client.fleet import Fleet, open_fleet
from client.node_settings import read_settings
from common.config import RunConfig
from common.data import Dataset, cut_at
from common.data.cut import held_out, last_two, parts, quantiles, recent, training
from common.errors import ConfigError, DataError
from common.settings import from_flat, to_flat, validate
from emulation.federation import federate, node_configs, prepared
from experiments.deployed import plan
from server.records.protocol_line import protocol

HISTORIES = {
    "all three": ([1, 2, 3, 4], [1.0, 2.0, 5.0, 9.0]),
    "two after the second": ([1, 2, 3], [1.0, 8.0, 9.0]),
    "nothing after": ([1, 2], [1.0, 2.0]),
    "late comer": ([4, 3, 2], [5.0, 6.0, 7.0]),
    "after all": ([5, 1], [8.0, 9.0]),
}
CUTS = (4.0, 6.0)


def log(timed: bool = True) -> Dataset:
    items, times = zip(*HISTORIES.values(), strict=True)
    n = len(items)
    return Dataset(
        "toy",
        5,
        [np.array(one, np.int32) for one in items],  # type: ignore[arg-type]
        np.arange(1, n + 1),
        [*"abcde"],
        [str(k) for k in range(n)],
        times=[np.array(one) for one in times] if timed else None,  # type: ignore[arg-type]
    )


def answered(data: Dataset, which: str) -> list[tuple[list[int], int]]:
    before, answers = held_out(data.sequences, which, parts(data))
    return [(one.tolist(), int(answer)) for one, answer in zip(before, answers, strict=True)]


def test_by_hand() -> None:
    data = cut_at(log(), CUTS)
    trained = training(data.sequences, parts(data))
    assert [one.tolist() for one in trained] == [[1, 2], [1], [1, 2], [], []]
    assert answered(data, "valid") == [([1, 2], 3)]
    assert answered(data, "test") == [([1, 2, 3], 4), ([1], 2), ([4, 3], 2)]


def test_without_cuts_one_is_left_out() -> None:
    data = log()
    assert answered(data, "test")[0] == ([1, 2, 3], 4)
    assert answered(data, "valid")[0] == ([1, 2], 3)
    assert len(answered(data, "test")) == 3
    assert last_two(data.sequences.lengths).train.tolist() == [2, 1, 2, 1, 2]


def test_an_interaction_at_the_moment_itself_is_before_it() -> None:
    assert answered(cut_at(log(), (5.0, 9.0)), "valid") == [([1, 2, 3], 4), ([1], 2), ([4], 3)]
    assert answered(cut_at(log(), (5.0, 9.0)), "test") == []


def test_a_node_splits_as_the_whole_log_does() -> None:
    data = recent(cut_at(log(), CUTS), 3)
    assert data.times is not None
    fleet = Fleet(data.devices, data.sequences, 5, data.times, data.item_ids, CUTS)
    assert [one.tolist() for one in fleet.trained] == [
        one.tolist() for one in training(data.sequences, parts(data))
    ]
    for which in ("valid", "test"):
        before, answers = fleet.histories(which)
        found = [(one.tolist(), int(answer)) for one, answer in zip(before, answers, strict=True)]
        assert found == answered(data, which)
        seconds = fleet.seconds(which)
        assert seconds is not None
        assert seconds.lengths.tolist() == before.lengths.tolist()
    assert fleet.evaluated("test").tolist() == [1, 2, 4]
    timed = fleet.train_seconds(np.array([2, 1]))
    assert timed is not None
    assert [one.tolist() for one in timed] == [[1.0], [2.0]]
    whole = Fleet(data.devices, data.sequences, 5, data.times, data.item_ids)
    assert fleet.fingerprint != whole.fingerprint


def test_quantiles_are_of_all_interactions() -> None:
    assert quantiles(log(), 0.5, 0.75) == (5.0, 8.0)
    with pytest.raises(DataError, match=r"eval\.quantiles=\[0\.9, 0\.99\]: no interaction between or after"):
        quantiles(log(), 0.9, 0.99)


def test_a_log_without_times_is_refused_in_one_line() -> None:
    for tried in (lambda: cut_at(log(timed=False), CUTS), lambda: quantiles(log(timed=False), 0.8, 0.9)):
        with pytest.raises(DataError, match="eval.split=time needs the time of each") as caught:
            tried()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pair", [[0.9, 0.8], [0.5, 0.5]])
def test_settings_in_order(pair: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"eval\.quantiles"):
        validate({"eval": {"quantiles": pair}})
    with pytest.raises(ConfigError, match=r"eval\.times"):
        validate({"eval": {"times": pair}})
    with pytest.raises(ConfigError, match="cut_times is '5,4'"):
        read_settings({"cut_times": "5,4"})


@pytest.fixture
def config() -> RunConfig:
    tree = {
        "data": {"name": "synthetic", "path": "devices=60,items=40,seed=1"},
        "model": {"dim": 8, "blocks": 1, "max_len": 8},
        "train": {"rounds": 1, "devices_per_round": 8, "slice_size": 20},
        "eval": {"split": "time", "quantiles": [0.7, 0.85]},
    }
    return validate(tree)


def test_one_run_and_its_nodes(config: RunConfig, tmp_path: Path) -> None:
    data, known = prepared(config)
    assert known.eval.times == data.cuts == quantiles(data, 0.7, 0.85)
    assert "time split at" in protocol(known)
    assert from_flat(to_flat(known)) == known
    (node,) = node_configs(known)
    fleet = open_fleet(read_settings(node))
    assert fleet.trained.lengths.tolist() == parts(data).train.tolist()
    deployed = plan(config, data, 2, 0, tmp_path / "logs")
    assert deployed.config.eval.times == data.cuts
    trained = [open_fleet(read_settings(one)).trained.lengths for one in deployed.nodes]
    assert sorted(np.concatenate(trained).tolist()) == sorted(parts(data).train.tolist())
    one = federate(config, tmp_path / "one")
    assert one["evaluated_devices"] == int((parts(data).test >= 0).sum())
    assert "time split at" in one["protocol"]
    two = federate(known, tmp_path / "two", nodes=[{**node, "part": f"{k}/2"} for k in range(2)])
    assert two["test"] == pytest.approx(one["test"], abs=1e-5)
    assert two["evaluated_devices"] == one["evaluated_devices"]
