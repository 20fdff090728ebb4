"""What is measured of our own children, and whether a course of samples is called flat or not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import processes
from benchmarks.processes import Sample, Usage, courses, descendants, look, sample

CHILD = "import sys; held = bytearray(int(sys.argv[1]) << 20); print('up', flush=True); sys.stdin.read()"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", CHILD, "60"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as made:
        assert made.stdout is not None
        assert made.stdout.readline() == "up\n"
        yield made
        made.communicate("")


def test_a_process_is_measured(child: subprocess.Popen[str]) -> None:
    found = look(child.pid, parts=True)
    assert found is not None
    assert 60 < found.rss < 200
    assert 60 < found.pss <= found.rss
    assert found.threads == 1
    assert found.files == len(list(Path(f"/proc/{child.pid}/fd").iterdir())) >= 3


def test_threads_and_files_that_are_added_are_seen() -> None:
    before = look(os.getpid())
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    ends = os.pipe()
    after = look(os.getpid())
    stop.set()
    for thread in threads:
        thread.join()
    for end in ends:
        os.close(end)
    assert before is not None
    assert after is not None
    assert (after.threads - before.threads, after.files - before.files) == (3, 2)


def test_a_process_that_is_gone_is_none(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    assert look(child.pid) is None


def test_children_are_found_by_what_they_run(child: subprocess.Popen[str]) -> None:
    assert child.pid in descendants()
    assert os.getpid() not in descendants()
    assert any(usage.rss > 60 for usage in sample().values())


def test_nodes_are_numbered_and_others_only_when_they_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {1: "node", 2: "superlink", 3: "node", 4: "superlink"}
    found = [SimpleNamespace(pid=pid) for pid in (4, 2, 1, 3)]
    family = SimpleNamespace(children=lambda recursive: found if recursive else [])
    monkeypatch.setattr(processes.psutil, "Process", {9: family}.__getitem__)
    monkeypatch.setattr(processes, "_name", lambda process: names[process.pid])
    assert descendants(9) == {1: "node 1", 2: "superlink", 3: "node 2", 4: "superlink 2"}


def made(rss: dict[int, float], threads: dict[int, int] | None = None) -> list[Sample]:
    """Samples of one process ``a`` at the given rounds."""
    return [(r, {"a": Usage(m, (threads or {}).get(r, 4), 9)}) for r, m in rss.items()]


def test_windows_are_the_second_and_the_last_fifth() -> None:
    rss = {50: 1.0, 100: 1.0, 101: 200.0, 200: 202.0, 201: 1.0, 400: 1.0, 401: 210.0, 500: 200.0}
    (found,) = courses(made(rss), 500)
    assert found.rss == (201.0, 205.0)
    assert found.growth == pytest.approx(4 / 201)
    assert found.troubles(0.05) == []
    assert found.troubles(0.01) == ["a: memory 201.0 -> 205.0 MiB (+2.0%)"]


@pytest.mark.parametrize(("late", "said"), [(110.0, "+10.0%"), (90.0, "-10.0%")])
def test_memory_that_is_not_flat_is_told(late: float, said: str) -> None:
    (found,) = courses(made({8: 100.0, 20: 100.0, 28: late}), 30)
    assert found.troubles(0.05) == [f"a: memory 100.0 -> {late} MiB ({said})"]


@pytest.mark.parametrize(("middle", "late", "told"), [(4, 6, True), (4, 5, False), (9, 9, False)])
def test_threads_that_still_rise_are_told_and_a_pool_that_grew_once_is_not(
    middle: int, late: int, told: bool
) -> None:
    (found,) = courses(made(dict.fromkeys((8, 20, 28), 100.0), {20: middle, 28: late}), 30)
    assert found.troubles(0.05) == ([f"a: threads {middle} -> {late}"] if told else [])


@pytest.mark.parametrize(
    ("late", "told"), [((10, 10, 10), True), ((10, 9, 10), False)], ids=["stays open", "open for a moment"]
)
def test_one_file_more_that_stays_open_is_told(late: tuple[int, ...], told: bool) -> None:
    files = {8: 9, 20: 9, 22: 9, 24: 9, **dict(zip((26, 28, 30), late, strict=True))}
    (found,) = courses([(r, {"a": Usage(1.0, 1, n)}) for r, n in files.items()], 30)
    assert found.troubles(0.05) == (["a: files 9 -> 10"] if told else [])


def test_a_forked_node_is_known_by_the_name_it_gives_itself(child: subprocess.Popen[str]) -> None:
    assert "node" not in descendants()[child.pid]
    code = f"open('/proc/self/comm', 'w').write('{processes.FORKED}'); {CHILD}"
    command = [sys.executable, "-c", code, "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forked:
        assert forked.stdout is not None
        forked.stdout.readline()
        assert descendants()[forked.pid] == "node 1"
        forked.communicate("")


def test_a_process_of_one_window_alone_has_no_course() -> None:
    seen = zip((8, 20, 28), "aab", strict=True)
    samples: list[Sample] = [(round_, {name: Usage(1, 1, 1)}) for round_, name in seen]
    assert courses(samples, 30) == []
