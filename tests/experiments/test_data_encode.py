"""A node's log from its own ids: the catalogue's numbers, unknown items dropped or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.data import CATALOGUE, catalogue, load, write_shards
from common.errors import ConfigError, DataError, FedSieveError
from experiments.data_cli import app

LOG = "user_id,item_id,timestamp\n"
HISTORY = [
    ("ann", "b", 1),
    ("ann", "a", 2),
    ("bob", "c", 1),
    ("bob", "a", 3),
    ("bob", "b", 2),
    ("ann", "c", 9),
]


def written(path: Path, lines: list[tuple[str, str, int]]) -> Path:
    path.write_text(LOG + "".join(f"{user},{item},{time}\n" for user, item, time in lines))
    return path


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The catalogue of a, b, c, as a split writes it."""
    write_shards(load("", str(written(tmp_path / "all.csv", HISTORY))), 2, tmp_path / "shards")
    return tmp_path / "shards" / CATALOGUE


def encode(log: Path, shared: Path, out: Path, *options: str) -> str:
    command = ["encode", str(log), "--catalogue", str(shared), "--out", str(out), *options]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_items_get_the_numbers_of_the_catalogue_whatever_their_order_here(
    shared: Path, tmp_path: Path
) -> None:
    mine = [("carl", "c", 1), ("carl", "b", 2), ("dora", "b", 7)]
    said = encode(written(tmp_path / "mine.csv", mine), shared, tmp_path / "node")
    log = load("", str(tmp_path / "node" / "node.parquet"))
    ids = list(load("", str(shared.parent / "node-000.parquet")).item_ids)
    assert [[ids[i - 1] for i in history] for history in log.sequences] == [["c", "b"], ["b"]]
    assert log.num_items == 3
    assert log.times is not None
    assert log.times[0].tolist() == [1.0, 2.0]
    assert catalogue("", str(tmp_path / "node" / CATALOGUE)) == catalogue("", str(shared))
    assert "devices 1 to 2" in said
    assert "dropped" not in said
    assert (tmp_path / "node" / "node.parquet").stat().st_mode & 0o77 == 0


def test_encoding_what_was_split_gives_the_split_back(shared: Path, tmp_path: Path) -> None:
    encode(tmp_path / "all.csv", shared, tmp_path / "node")
    again, whole = load("", str(tmp_path / "node" / "node.parquet")), load("", str(tmp_path / "all.csv"))
    assert [s.tolist() for s in again.sequences] == [s.tolist() for s in whole.sequences]
    assert again.devices.tolist() == whole.devices.tolist()


def test_numbers_of_devices_begin_where_told(shared: Path, tmp_path: Path) -> None:
    said = encode(tmp_path / "all.csv", shared, tmp_path / "node", "--first-device", "1000")
    assert load("", str(tmp_path / "node" / "node.parquet")).devices.tolist() == [1000, 1001]
    assert "devices 1000 to 1001" in said


STRANGE = [("ann", "a", 1), ("ann", "x", 2), ("bob", "y", 3), ("bob", "x", 4), ("eve", "b", 5)]


def test_unknown_items_are_refused_with_their_ids(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 items are not in .*: x, y \(3 interactions\); --unknown drop"):
        encode(written(tmp_path / "mine.csv", STRANGE), shared, tmp_path / "node")
    assert not (tmp_path / "node").exists()


def test_unknown_items_are_dropped_and_counted_where_told(shared: Path, tmp_path: Path) -> None:
    said = encode(written(tmp_path / "mine.csv", STRANGE), shared, tmp_path / "node", "--unknown", "drop")
    assert "dropped 3 interactions with 2 unknown items: x, y" in said
    assert "dropped 1 device that" in said
    log = load("", str(tmp_path / "node" / "node.parquet"))
    assert [len(history) for history in log.sequences] == [1, 1]
    assert log.devices.tolist() == [1, 2]


def test_many_unknown_items_are_named_in_part(shared: Path, tmp_path: Path) -> None:
    many = [("ann", "a", 0), *(("ann", f"z{k}", k + 1) for k in range(9))]
    with pytest.raises(DataError, match="9 items are not in .*: z0, z1, z2, z3, z4, … "):
        encode(written(tmp_path / "mine.csv", many), shared, tmp_path / "node")


def test_a_log_of_strangers_alone_is_refused(shared: Path, tmp_path: Path) -> None:
    log = written(tmp_path / "mine.csv", [("ann", "x", 1), ("ann", "y", 2)])
    with pytest.raises(DataError, match="none of its 2 items is in the catalogue"):
        encode(log, shared, tmp_path / "node", "--unknown", "drop")


def test_mistakes_are_told_in_one_line(shared: Path, tmp_path: Path) -> None:
    log = tmp_path / "all.csv"
    with pytest.raises(ConfigError, match="--unknown 'skip'; valid: drop, refuse"):
        encode(log, shared, tmp_path / "node", "--unknown", "skip")
    for lost in (tmp_path / "nowhere.parquet", log):
        with pytest.raises(FedSieveError) as caught:
            encode(log, lost, tmp_path / "node")
        assert "\n" not in str(caught.value)
    other = write_shards(load("", str(written(tmp_path / "b.csv", [("u", "q", 1)]))), 1, tmp_path / "other")
    assert other
    with pytest.raises(ConfigError, match="holds another catalogue"):
        encode(log, shared, tmp_path / "other")


def test_a_log_is_prepared_as_the_settings_of_data_say(shared: Path, tmp_path: Path) -> None:
    log = tmp_path / "mine.csv"
    log.write_text("user_id,item_id,rating,timestamp\ncarl,c,5,1\ncarl,b,1,2\ncarl,a,4,3\n")
    encode(log, shared, tmp_path / "node", "--set", "data.min_rating=4")
    found = load("", str(tmp_path / "node" / "node.parquet"))
    assert [[found.item_ids[i - 1] for i in history] for history in found.sequences] == [["c", "a"]]
    with pytest.raises(ConfigError, match=r"--set model\.dim: expected a setting of data"):
        encode(log, shared, tmp_path / "other", "--set", "model.dim=3")
    with pytest.raises(ConfigError, match=r"--set data\.path: the log is given, .*mine\.csv"):
        encode(log, shared, tmp_path / "other", "--set", f"data.path={tmp_path / 'all.csv'}")
