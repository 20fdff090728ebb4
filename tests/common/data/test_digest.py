"""What tells two logs apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.data import CATALOGUE, Dataset, catalogue, content_digest, load, recent, write_shards
from common.data.cut import first, only
from common.data.ragged import Ragged
from common.preparation import Preparation

LOG = "devices=12,items=30,length=8"


@pytest.fixture
def log() -> Dataset:
    return load("synthetic", LOG)


def test_the_same_content_elsewhere_has_the_same_digest(log: Dataset, tmp_path: Path) -> None:
    for place in ("here", "there"):
        write_shards(log, 1, tmp_path / place)
    here, there = (load("", str(tmp_path / place / "node-000.parquet")) for place in ("here", "there"))
    assert content_digest(here) == content_digest(there) == content_digest(log)
    assert content_digest(replace(log, name="other", source="other", titles={1: "One"})) == content_digest(
        log
    )


def test_what_a_model_learns_from_is_in_the_digest(log: Dataset) -> None:
    assert log.times is not None
    first = log.sequences[0].copy()
    first[[0, 1]] = first[[1, 0]]
    others = [
        replace(log, sequences=(first, *log.sequences[1:])),
        replace(log, sequences=(log.sequences[0][:-1], *log.sequences[1:])),
        replace(log, devices=log.devices + 1),
        replace(log, item_ids=(*log.item_ids[:-1], "another")),
        replace(log, sequences=log.sequences[:-1], devices=log.devices[:-1]),
        replace(log, times=(log.times[0] + 1, *log.times[1:])),
        replace(log, times=None),
    ]
    assert not np.array_equal(first, log.sequences[0]), "the test would compare a log with itself"
    assert len({content_digest(log), *map(content_digest, others)}) == 8


def test_a_server_that_has_the_log_reads_it_as_its_nodes_do(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(
        "user,item,time\n" + "".join(f"{u},{u * i % 7},{i}\n" for u in range(6) for i in range(5))
    )
    rules = Preparation(min_item=5)
    found, nodes = catalogue("", str(path), rules), load("", str(path), prepare=rules)
    assert (found.items, list(found.ids)) == (nodes.num_items, list(nodes.item_ids))
    assert found.items < catalogue("", str(path)).items


def test_a_server_that_has_the_catalogue_alone_knows_items_and_their_numbers(
    log: Dataset, tmp_path: Path
) -> None:
    write_shards(log, 3, tmp_path / "a")
    write_shards(log, 2, tmp_path / "b")
    renamed = replace(log, item_ids=log.item_ids[::-1])
    write_shards(renamed, 3, tmp_path / "c")
    found = [catalogue("", str(tmp_path / name / CATALOGUE)) for name in "abc"]
    assert found[0] == found[1]
    assert found[0][0] == 30
    assert found[0][1] != found[2][1]


def test_how_the_arrays_lie_is_not_in_the_digest(log: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    cut, rows = recent(log, 4), list(range(3, 9))
    assert log.times is not None
    copied = replace(
        cut, sequences=tuple(one.copy() for one in cut.sequences), times=tuple(recent(log, 4).times)
    )
    assert content_digest(cut) == content_digest(copied) != content_digest(log)
    assert content_digest(only(log, rows)) == content_digest(first(only(log, [*rows, 9]), len(rows)))
    before = content_digest(log)
    monkeypatch.setattr(Ragged.chunks, "__defaults__", (7,))
    assert content_digest(log) == before


def test_where_a_history_ends_is_in_the_digest(log: Dataset) -> None:
    lengths = log.sequences.lengths.copy()
    lengths[[0, 1]] += [1, -1]
    moved = replace(log, sequences=Ragged.split(log.sequences.values, lengths))
    assert content_digest(moved) != content_digest(log)
