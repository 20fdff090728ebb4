"""Which devices a node stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.fleet import Fleet, malicious_devices, open_fleet
from client.node_settings import read_settings
from common.data import load
from common.data.ragged import Ragged
from common.errors import ConfigError, UnknownName

LOG = {"data": "synthetic", "path": "devices=40,items=30,length=8"}


def fleet(**config: Any) -> Fleet:
    return open_fleet(read_settings({**LOG, **config}))


def test_a_fleet_holds_the_leave_one_out_histories_by_number() -> None:
    log, found = load(**{"name": LOG["data"], "path": LOG["path"]}), fleet()
    assert found.num_items == log.num_items == 30
    assert np.array_equal(found.numbers, log.devices)
    for number, sequence in zip(log.devices, log.sequences, strict=True):
        assert found.train(int(number)).tolist() == sequence[:-2].tolist()
    histories, answers = found.histories("test")
    assert answers.tolist() == [sequence[-1] for sequence in log.sequences]
    assert [h.tolist() for h in histories] == [sequence[:-1].tolist() for sequence in log.sequences]


def test_parts_i_of_n_partition_the_devices() -> None:
    everyone = fleet().numbers.tolist()
    parts = [fleet(part=f"{i}/7").numbers.tolist() for i in range(7)]
    assert sorted(n for part in parts for n in part) == sorted(everyone)
    assert {len(part) for part in parts} == {5, 6}
    assert parts[2] == sorted(everyone)[2::7]
    assert fleet(part="0/1").numbers.tolist() == everyone


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_honest_and_malicious_partition_the_devices(share: float) -> None:
    bad, good = (set(fleet(part=p, share=share, seed=3).numbers) for p in ("malicious", "honest"))
    assert bad | good == set(fleet().numbers)
    assert not bad & good
    assert len(bad) == round(40 * share)


def test_a_part_has_only_its_own_histories() -> None:
    found = fleet(part="malicious", share=0.2)
    assert len(found.sequences) == len(found.numbers) == 8
    assert found.numbers.tolist() == sorted(found.numbers)
    others = np.setdiff1d(fleet().numbers, found.numbers)
    assert (found.positions(others) == -1).all()
    with pytest.raises(KeyError, match=str(others[0])):
        found.train(int(others[0]))


@given(count=st.integers(0, 200), share=st.floats(0, 1), seed=st.integers(0, 2**40))
def test_the_malicious_are_the_share_asked_for_and_repeatable(count: int, share: float, seed: int) -> None:
    found = malicious_devices(count, share, seed).tolist()
    assert len(found) == len(set(found)) == round(share * count)
    assert found == sorted(found)
    assert set(found) <= set(range(count))
    assert found == malicious_devices(count, share, seed).tolist()


def test_every_device_has_the_same_chance_to_be_malicious() -> None:
    drawn = np.zeros(20)
    for seed in range(500):
        drawn[malicious_devices(20, 0.3, seed)] += 1
    assert (drawn / 500).tolist() == pytest.approx([0.3] * 20, abs=0.09)
    assert malicious_devices(20, 0.3, 1).tolist() != malicious_devices(20, 0.3, 2).tolist()


def test_a_log_can_be_cut_to_its_first_devices() -> None:
    everyone = fleet().numbers.tolist()
    assert fleet(max_devices=9).numbers.tolist() == everyone[:9]
    assert fleet(max_devices=400).numbers.tolist() == everyone
    bad, good = (set(fleet(part=p, share=0.4, max_devices=10).numbers) for p in ("malicious", "honest"))
    assert bad | good == set(everyone[:10])
    assert len(bad) == 4


def test_histories_can_be_cut_to_their_last_interactions() -> None:
    whole, cut = fleet(), fleet(max_length=5)
    assert cut.numbers.tolist() == whole.numbers.tolist()
    assert cut.num_items == whole.num_items
    for which in ("valid", "test"):
        assert cut.histories(which)[1].tolist() == whole.histories(which)[1].tolist()
    for number in whole.numbers:
        assert cut.train(number).tolist() == whole.train(number)[-3:].tolist()
    assert [one.tolist() for one in fleet(max_length=0).sequences] == [
        one.tolist() for one in whole.sequences
    ]


def test_a_node_reads_a_log_of_its_own_as_it_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("who,item,stars,time\n" + "".join(f"u{n % 2},i{n},{n % 5},{90 - n}\n" for n in range(20)))
    prepare = '{"columns": {"user": "who"}, "min_rating": 3}'
    own = open_fleet(read_settings({"path": str(log), "prepare": prepare}))
    assert (len(own.numbers), own.num_items, int(own.sequences.lengths.sum())) == (2, 8, 8)
    for wrong in ("{", '{"min_ratng": 3}', '{"min_rating": "x"}', "[]"):
        with pytest.raises(ConfigError, match="node config: prepare: "):
            read_settings({"path": str(log), "prepare": wrong})


@pytest.mark.parametrize("part", ["", "evil", "4/4", "5/4", "1/", "/4", "-1/4", "a/b", "1/4/2", "0/0", "²/4"])
def test_a_part_that_does_not_exist_is_refused_with_the_valid_ones(part: str) -> None:
    with pytest.raises(ConfigError, match=r"all, honest, malicious, public, or I/N"):
        fleet(part=part)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("share", "many"),
        ("share", 1.5),
        ("share", -0.1),
        ("seed", "x"),
        ("max_devices", "x"),
        ("max_length", -1),
    ],
)
def test_a_value_that_is_no_number_in_range_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"node config: {key}"):
        fleet(part="honest", **{key: value})


def test_an_unknown_key_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'dta': did you mean 'data'\?"):
        open_fleet(read_settings({"dta": "synthetic"}))


def test_keys_that_flower_adds_are_no_error() -> None:
    assert fleet(**{"partition-id": 1, "num-partitions": 2}).numbers.tolist() == fleet().numbers.tolist()


def test_an_unknown_log_is_refused() -> None:
    with pytest.raises(UnknownName, match="synthetic"):
        open_fleet(read_settings({"data": "ml-100kk"}))


def test_any_file_is_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text(
        "user,item,time\n" + "".join(f"u{u},i{(u + t) % 5},{t}\n" for u in range(3) for t in range(4))
    )
    found = open_fleet(read_settings({"path": str(log)}))
    assert len(found.numbers) == 3
    assert found.num_items == 5
    assert [len(found.train(n)) for n in found.numbers] == [2, 2, 2]


def histories_of(*sequences: list[int]) -> Fleet:
    arrays = [np.array(one, dtype=np.int32) for one in sequences]
    return Fleet(np.arange(len(arrays)), Ragged.of(arrays, np.int32), 9)


def test_the_test_item_is_ranked_after_the_validation_item() -> None:
    found = histories_of([1, 2, 3, 4], [5, 6, 7])
    valid, answers = found.histories("valid")
    assert [h.tolist() for h in valid] == [[1, 2], [5]]
    assert answers.tolist() == [3, 6]
    test, answers = found.histories("test")
    assert [h.tolist() for h in test] == [[1, 2, 3], [5, 6]]
    assert answers.tolist() == [4, 7]
    assert test[0].dtype == np.int32


def test_a_device_too_short_to_evaluate_trains_only() -> None:
    found = histories_of([1, 2], [], [3], [4, 5, 6])
    assert found.train(0).tolist() == [1, 2]
    for which in ("valid", "test"):
        histories, answers = found.histories(which)
        assert len(histories) == len(answers) == 1


def test_the_public_part_is_a_draw_of_honest_devices() -> None:
    honest = set(fleet(part="honest", share=0.4, seed=3).numbers)
    public = fleet(part="public", share=0.4, seed=3, public=3).numbers.tolist()
    assert len(set(public)) == 3
    assert set(public) <= honest
    assert public == fleet(part="public", share=0.4, seed=3, public=3).numbers.tolist()
    assert set(fleet(part="public", share=0.4, seed=3, public=1000).numbers) == honest
    assert fleet(part="public", share=0.4, seed=4, public=3).numbers.tolist() != public
