"""A large log is prepared once; its cache is never trusted further than its hashes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from common.data import Dataset, content_digest, load, prepared
from common.errors import DataError
from common.preparation import AS_IT_IS, Preparation

TEXT = "user,item,time\n" + "".join(f"u{n * 7 % 40},i{n * n % 23},{n * 7 % 401}\n" for n in range(400))


@pytest.fixture
def log(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log that counts as large, with parts of some fifty interactions."""
    monkeypatch.setattr(prepared, "SMALL", 1)
    monkeypatch.setattr(prepared.Ragged.chunks, "__defaults__", (50,))
    path = tmp_path / "logs" / "log.csv"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that were read line by line."""
    found, original = list[str](), prepared.build

    def build(name: str, *args: Any, **named: Any) -> Dataset:
        found.append(name)
        return original(name, *args, **named)

    monkeypatch.setattr(prepared, "build", build)
    return found


def place(log: Path) -> Path:
    (folder,) = log.parent.glob("*.prepared")
    return folder


def same(one: Dataset, other: Dataset) -> bool:
    ids = (one.item_ids, one.user_ids, one.titles, one.name, one.source, one.num_items)
    others = (other.item_ids, other.user_ids, other.titles, other.name, other.source, other.num_items)
    assert all(part.flags.writeable for part in (one.sequences[0], one.times[0]))  # type: ignore[index]
    return ids == others and content_digest(one) == content_digest(other)


def opened(log: Path, devices: int = 0) -> Dataset:
    """As another process would open it: nothing is held here."""
    prepared._OPEN.clear()
    return load("", str(log), devices=devices)


def test_ways_to_read_a_log_keep_their_own_caches(log: Path, builds: list[str]) -> None:
    """A name, a rule and a neighbour's cache are no reason to forget one; other bytes of the log are."""
    beside = log.parent / "log.csv-old.csv"
    beside.write_text(TEXT)
    for _ in range(2):
        for path, prepare in ((log, AS_IT_IS), (log, Preparation(min_item=2)), (beside, AS_IT_IS)):
            prepared._OPEN.clear()
            load("", str(path), prepare=prepare)
        prepared._OPEN.clear()
        prepared.read(log, make=prepared._built, name="known")
    assert len(builds) == 4
    assert len(list(log.parent.glob("*.prepared"))) == 4
    log.write_text(TEXT + "u0,i0,999\n")
    opened(log)
    assert len(list(log.parent.glob("log.csv-[0-9a-f]*.prepared"))) == 1
    assert len(list(log.parent.glob("*.prepared"))) == 2


def test_a_log_is_prepared_once(log: Path, builds: list[str]) -> None:
    first, again = opened(log), opened(log)
    assert builds == ["log"]
    assert same(first, again)
    assert len(list(place(log).glob("part-*.parquet"))) > 4
    assert place(log).stat().st_mode & 0o777 == 0o700
    assert [one.name for one in sorted(log.parent.iterdir())] == ["log.csv", place(log).name]


def test_a_small_log_leaves_nothing_beside_it(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "SMALL", len(TEXT) + 1)
    kept = opened(log)
    assert list(log.parent.iterdir()) == [log]
    monkeypatch.setattr(prepared, "SMALL", 1)
    assert same(opened(log), kept)


def test_a_log_without_times_and_an_archive_elsewhere(log: Path, builds: list[str]) -> None:
    other = log.with_name("other.txt")
    other.write_text("1 a b c\n2 b a\n")
    first, again = opened(other), opened(other)
    assert builds == ["other"]
    assert first.times is again.times is None
    assert [one.tolist() for one in again.sequences] == [[1, 2, 3], [2, 1]]


@pytest.mark.parametrize("name", ["index.json", "items.parquet", "devices.parquet", "part-002.parquet"])
@pytest.mark.parametrize("how", ["gone", "cut", "flipped", "empty", "other"])
def test_a_damaged_cache_is_prepared_anew(log: Path, builds: list[str], name: str, how: str) -> None:
    whole, file = opened(log), place(log) / name
    data = file.read_bytes()
    if how == "gone":
        file.unlink()
    elif how == "other":
        file.write_bytes((place(log) / "part-001.parquet").read_bytes())
    else:
        middle = len(data) // 2
        flipped = data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]
        file.write_bytes({"cut": data[:middle], "flipped": flipped, "empty": b""}[how])
    assert same(opened(log), whole)
    assert same(opened(log), whole)
    assert builds == ["log"] * 2
    assert file.read_bytes() == data


def test_an_index_that_promises_what_is_not_there(log: Path, builds: list[str]) -> None:
    whole, file = opened(log), place(log) / "index.json"
    index = json.loads(file.read_text())
    for change in (
        {"parts": index["parts"][:-1]},
        {"parts": [index["parts"][0]] * 2},
        {"parts": [["part-000.parquet", "many", 1]]},
        {"version": 0},
    ):
        builds.clear()
        file.write_text(json.dumps(index | change))
        again = opened(log)
        assert same(again, whole), change
        assert builds == ["log"], change


def test_another_log_of_the_same_name_is_another_log(log: Path, builds: list[str]) -> None:
    first, before = opened(log), place(log)
    log.write_text(TEXT.replace("u3,", "u4,"))
    second = opened(log)
    assert content_digest(first) != content_digest(second)
    assert place(log) != before  # the old one has gone
    log.write_text(TEXT)
    assert same(opened(log), first)
    assert builds == ["log"] * 3


def test_another_version_of_the_preparation(
    log: Path, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(log)
    monkeypatch.setattr(prepared, "VERSION", prepared.VERSION + 1)
    opened(log)
    assert builds == ["log"] * 2
    assert json.loads((place(log) / "index.json").read_text())["version"] == prepared.VERSION


def test_a_folder_that_cannot_be_written(
    log: Path, bare: Path, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, refused = tempfile.mkdtemp, [log.parent]

    def mkdtemp(suffix: str | None = None, prefix: str | None = None, dir: Any = None) -> str:
        if dir in refused:
            raise PermissionError(13, "Permission denied")
        return original(suffix, prefix, dir)

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    first, again = opened(log), opened(log)
    assert same(first, again)
    assert builds == ["log"]
    assert list(log.parent.iterdir()) == [log]
    assert len(list((bare / "prepared").iterdir())) == 1
    refused.append(bare / "prepared")
    log.write_text(TEXT + "u1,i1,1\n")
    for _ in range(2):  # with no place at all every reading is the first
        assert opened(log).sequences.lengths.sum() == 401
    assert builds == ["log"] * 3


def test_a_preparation_that_fails_leaves_nothing(
    log: Path, bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.write_bytes

    def full(self: Path, data: Any) -> int:
        if self.name == "part-001.parquet":
            raise OSError(28, "No space left on device")
        return original(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        whole = opened(log)
    assert list(log.parent.iterdir()) == [log]
    assert not list(bare.glob("prepared/*"))
    assert same(opened(log), whole)


def test_another_process_prepares_the_log_at_the_same_time(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, inodes = prepared.build, list[int]()

    def build(*args: Any, **named: Any) -> Dataset:
        with monkeypatch.context() as patch:
            patch.setattr(prepared, "build", original)
            prepared._read_large(log, 0, None, AS_IT_IS, prepared._built, "")
        inodes.append(place(log).stat().st_ino)
        return original(*args, **named)

    monkeypatch.setattr(prepared, "build", build)
    whole = opened(log)
    assert [place(log).stat().st_ino] == inodes  # the first stays, nothing is left of the second
    assert len(list(log.parent.iterdir())) == 2
    assert same(opened(log), whole)
    assert len(inodes) == 1


def test_a_log_that_is_written_to_while_it_is_read_gets_no_cache(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = prepared.build

    def build(*args: Any, **named: Any) -> Dataset:
        log.write_text(TEXT + "u1,i1,1\n")
        return original(*args, **named)

    monkeypatch.setattr(prepared, "build", build)
    opened(log)
    assert list(log.parent.iterdir()) == [log]


@pytest.mark.parametrize("devices", [1, 5, 6, 39, 40, 500])
def test_the_first_devices_are_read_without_the_others(
    log: Path, builds: list[str], devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, whole, read, original = opened(log, devices), opened(log), list[str](), prepared._table

    def table(path: Path, digest: str) -> Any:
        read.append(path.name)
        return original(path, digest)

    monkeypatch.setattr(prepared, "_table", table)
    part = opened(log, devices)
    assert builds == ["log"]
    assert same(part, fresh)
    assert (part.num_items, part.item_ids) == (whole.num_items, whole.item_ids)
    kept = min(devices, 40)
    assert part.devices.tolist() == whole.devices[:kept].tolist()
    assert part.user_ids == whole.user_ids[:kept]
    assert all(map(np.array_equal, part.sequences, whole.sequences[:kept]))
    parts = sorted(place(log).glob("part-*.parquet"))
    index = json.loads((place(log) / "index.json").read_text())["parts"]
    before = np.cumsum([0, *(count for _, count, _ in index[:-1])])
    assert read[2:] == [path.name for path, first in zip(parts, before, strict=True) if first < kept]
    if devices <= 6:
        for path in parts[2:]:
            path.unlink()  # nobody looks for them
        assert same(opened(log, devices), fresh)
        assert builds == ["log"]


def test_what_is_open_is_held_once_and_no_longer_than_needed(log: Path) -> None:
    first = load("", str(log))
    assert load("", str(log)) is first
    assert load("", str(log), devices=3) is not first
    log.write_text(TEXT + "u1,i1,1\n")
    assert len(load("", str(log)).sequences.values) == 401
    kept = len(prepared._OPEN)
    del first
    assert len(prepared._OPEN) < kept


def test_a_malformed_log_is_refused_as_ever(log: Path) -> None:
    log.write_text(TEXT + "u1,,1\n")
    with pytest.raises(DataError, match="line 402, column item"):
        opened(log)
    assert list(log.parent.iterdir()) == [log]
    with pytest.raises(DataError, match="No such file"):
        opened(log.with_name("gone.csv"))


SCRIPT = """
import sys
import numpy, polars
from common.data import load
load("", sys.argv[1])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
"""The peak of this program in KiB; what getrusage tells is at least what the process held that started it."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_what_an_interaction_costs_in_memory(bare: Path, tmp_path: Path) -> None:
    """Item, time and user are 16 bytes, held twice while they are put in order; text would be a hundred."""
    peaks, root = list[float](), Path(prepared.__file__).parents[2]
    for millions in (1, 3):
        path, rng = tmp_path / f"{millions}.csv", np.random.default_rng(0)
        users = rng.integers(10**6, 10**6 + 50_000 * millions, 10**6 * millions)
        columns = {"user": users, "item": users % 9999, "time": users * 7919 % 10**9}
        pl.DataFrame(columns).write_csv(path)
        told = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(path)],
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        peaks.append(float(told.stdout) * 1024)
    assert (peaks[1] - peaks[0]) / 2e6 < 80
