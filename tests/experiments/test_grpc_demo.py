"""The demo without its deployment: what it tells of a run, and how it ends when something goes wrong."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.errors import ConfigError, RunError
from common.printable import LONGEST
from experiments import grpc_demo
from experiments.grpc_demo import ending_on_signals, follow, show
from experiments.local_deployment import Deployment
from experiments.processes import Process
from tests.common.hostile_text import ATTACKS, FORGED, HOSTILE, check_harmless

Start = Callable[[str, str], Process]
RUN = """
import time
print("Loading project configuration...", flush=True)
print("\\033[92mINFO \\033[0m:      round 4 of 40: 128 of 128 devices admitted, about 9 s left", flush=True)
print("round 5 of", end="", flush=True)
time.sleep(0.5)
print(" 40: half a line", flush=True)
print("finished: test HR@10 0.2", end="")
"""


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        yield Deployment(tmp_path, stack, {})


@pytest.fixture
def start(local: Deployment) -> Start:
    return lambda name, code: local.start(name, [sys.executable, "-c", code])


def test_it_tells_the_lines_that_matter_as_they_come(local: Deployment, start: Start) -> None:
    told: list[tuple[float, str]] = []
    run, node = start("run", RUN), start("node", "import time; time.sleep(60)")
    follow(local, run, [node], lambda line: told.append((time.monotonic(), line)))
    assert [line for _, line in told] == [
        "INFO :      round 4 of 40: 128 of 128 devices admitted, about 9 s left",
        "round 5 of 40: half a line",
        "finished: test HR@10 0.2",
    ]
    assert told[1][0] - told[0][0] > 0.2  # not all at the end


def test_what_a_node_wrote_is_no_line_of_the_demo(local: Deployment, start: Start) -> None:
    told: list[str] = []
    text = "WARNING : " + HOSTILE + ATTACKS["huge"]
    (local.folder / "text").write_bytes(text.encode())
    code = f"import sys; sys.stdout.buffer.write(open({str(local.folder / 'text')!r}, 'rb').read())"
    run = start("run", code)
    run.popen.wait(30)
    follow(local, run, [], told.append)
    assert told
    for line in told:
        check_harmless(line.removeprefix(FORGED), LONGEST + 50)  # a true line feed ends a line here
        assert "\n" not in line
    assert sum(line.startswith(FORGED) for line in told) == 1  # of all the ends of lines, by the line feed
    assert len(max(local.logs().split("\n"), key=len)) < LONGEST + 50


def test_a_line_inside_a_line_is_no_news() -> None:
    assert grpc_demo.WORTH.search(FORGED)
    assert not grpc_demo.WORTH.search(f"INFO : node 3 says {FORGED.removeprefix('INFO :      ')}")


def test_a_node_that_ends_ends_the_demo_with_the_logs(local: Deployment, start: Start) -> None:
    run = start("run", "import time; time.sleep(60)")
    node = start("node-1", "raise SystemExit('no such log')")
    with pytest.raises(RunError, match=r"(?s)node-1 ended during the run.*no such log"):
        follow(local, run, [node], print)


def test_a_run_that_hangs_is_given_up(
    local: Deployment, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_demo, "LIMIT_S", 0.3)
    with pytest.raises(RunError, match="did not end within"):
        follow(local, start("run", "import time; time.sleep(60)"), [], print)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_the_block(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def block() -> None:
        with ending_on_signals():
            os.kill(os.getpid(), number)
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert signal.getsignal(number) == before


def test_mistakes_are_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_demo, "deployment", None)  # must not be reached
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(RunError, match="already holds a run"):
        show(tmp_path, overrides=["data.name=synthetic"])
    for name in ("metrics.jsonl", "audit.jsonl"):  # it ended before its first round
        (tmp_path / name).touch()
    with pytest.raises(TypeError, match="NoneType"):
        show(tmp_path, overrides=["data.name=synthetic"])
    with pytest.raises(ConfigError, match=r"unknown setting train\.turns"):
        show(tmp_path / "new", overrides=["train.turns=3"])
    with pytest.raises(ConfigError, match="malicious"):
        show(tmp_path / "new", overrides=["data.name=synthetic", "attack.name=none"])
    assert not (tmp_path / "new").exists()
