"""Claims of shards: one holder a number, over processes, through deaths and restarts."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.errors import RunError
from experiments.containers.replica import Slots

CLAIM = """
import sys
from pathlib import Path
from experiments.containers.replica import Slots
slots = Slots(Path(sys.argv[1]))
print(slots.claim(sys.argv[2]), flush=True)
sys.stdin.read()
"""


def replica(folder: Path, holder: str) -> tuple[subprocess.Popen[str], int]:
    """A process that claims a slot and holds it until it dies; the slot."""
    command = [sys.executable, "-c", CLAIM, str(folder), holder]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_replicas_that_start_together_get_numbers_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        claimed = list(pool.map(lambda n: replica(tmp_path, f"host{n}"), range(6)))
    try:
        assert sorted(slot for _, slot in claimed) == list(range(6))
        assert Slots(tmp_path).taken() == list(range(6))
    finally:
        for process, _ in claimed:
            end(process)
    assert Slots(tmp_path).taken() == []


def test_a_killed_replica_frees_its_number_and_gets_it_back(tmp_path: Path) -> None:
    first, one = replica(tmp_path, "a")
    second, two = replica(tmp_path, "b")
    try:
        assert (one, two) == (0, 1)
        end(second)
        assert Slots(tmp_path).taken() == [0]
        end(first)
        again, number = replica(tmp_path, "b")  # 0 is free too, but 1 was its own
        end(again)
        assert number == 1
    finally:
        end(first)


def test_within_a_choice_and_none_left(tmp_path: Path) -> None:
    slots = Slots(tmp_path)
    assert slots.claim("a", [4, 2]) == 2
    assert slots.claim("a", [4, 2]) == 4  # its own number is held by this very object
    assert Slots(tmp_path).claim("b", [4, 2]) is None
    slots.release(2)
    assert Slots(tmp_path).taken() == [4]


def test_looking_leaves_the_claims_alone(tmp_path: Path) -> None:
    slots = Slots(tmp_path)
    assert slots.claim("a") == 0
    looker = Slots(tmp_path)
    assert [looker.taken() for _ in range(3)] == [[0]] * 3
    slots.release(0)
    assert looker.claim("b") == 0


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot claim a shard"):
        Slots(tmp_path / "file").claim("a")


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    slots = Slots(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        number = slots.claim("a")
        assert number == 0
        slots.taken()
        slots.release(number)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
