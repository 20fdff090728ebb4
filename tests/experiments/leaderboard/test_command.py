"""The command: what is open and for how long, a rule of one's own, one machine's part, errors."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from common.errors import ConfigError, DataError
from experiments.cli import app
from experiments.compare.command import Datasets
from experiments.leaderboard import command
from experiments.leaderboard.cells import plan
from experiments.leaderboard.command import Options, opened, seconds_left
from experiments.leaderboard.protocol import read_protocol
from experiments.pool import Event, Job, Work
from tests.docs.pages import ROOT, blocks
from tests.experiments.leaderboard.samples import Here, board, finish, protocol_file

RULE = """
from server.aggregators.mean import Mean

class Mine(Mean):
    "The plain mean, under a name of ours."
"""


def called(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["leaderboard", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["leaderboard", *arguments])
    assert isinstance(result.exception, ConfigError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_list_says_what_is_open_and_writes_nothing(tmp_path: Path) -> None:
    protocol, of = board(tmp_path)
    told = called(protocol.wanted, "--out", str(of.folder), "--list", "--workers", "2")
    assert "Small, version 3: 16 of 16 cells are open" in told
    assert not of.folder.exists()
    told = called(protocol.wanted, "--out", str(of.folder), "--dry-run", "--only", "rule=mean,seed=1")
    assert "4 of 4 cells are open" in told


def test_hours_are_of_ended_cells_and_of_the_protocol_before(tmp_path: Path) -> None:
    protocol, of = board(tmp_path)
    # 2 minutes a cell, half of it honest: 4 families, each with one honest half and four other halves
    assert seconds_left(protocol, of, of.plan.cells) == pytest.approx(4 * (60 + 4 * 60))
    mean = [one for one in of.plan.cells if one.labels["aggregator"] == "mean"]
    finish(of, mean[:1], seconds=20.0)
    first = [one for one in mean if one.labels["seed"] == 0]
    assert seconds_left(protocol, of, first) == pytest.approx(10 + 3 * 10)


def test_a_rule_of_ones_own_takes_part_with_one_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "board_rules.py").write_text(RULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(command, "Pool", Here)
    path, out = protocol_file(tmp_path, seeds=[0]), tmp_path / "out"
    own = "board_rules:Mine"
    arguments = (str(path), "--out", str(out), "--add", own)
    told = called(*arguments, "--only", "attack=control", "--only", f"rule={own}")
    assert "1 of 12 cells chosen, 1 of them open" in told
    assert f"Leaderboard in {out}/leaderboard.html" in told.replace("\n", "")
    rows = pl.read_csv(out / "results.csv")
    assert rows["aggregator"].to_list() == [own]
    assert rows["status"].to_list() == ["done"]
    page = (out / "leaderboard.html").read_text()
    assert "12 cells; 1 done, 0 in work, 0 failed, 11 open." in page
    assert re.search(rf"--add {own} --only rule={own}", page)
    assert refused(*arguments[:3], "--page") == (
        f"{out}/protocol.yaml has rules that {path} lacks; name them with --add {own}, "
        f"or choose another --out; where the protocol itself has changed, remove {out}/protocol.yaml"
    )
    assert (out / "leaderboard.html").read_text() == page
    (out / "protocol.yaml").unlink()
    called(*arguments[:3], "--page")
    assert "1 cell in the folder belongs to other code" in (out / "leaderboard.html").read_text()
    called(*arguments, "--page")  # a rule that is new there may come


def test_a_page_does_not_become_that_of_another_protocol(tmp_path: Path) -> None:
    path, out = protocol_file(tmp_path, seeds=[0]), tmp_path / "out"
    called(str(path), "--out", str(out), "--page")
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    told = refused("--out", str(out), "--page")
    assert told.startswith(
        f"{out}/protocol.yaml is of 'Small, version 3', and v1, 'Rules against promotion and destruction, "
        "version 1', differs in version, title, "
    )
    assert f"fedsieve leaderboard {out}/protocol.yaml --out {out}, or choose another --out" in told
    assert refused("--out", str(out)) == told
    assert "differs in seeds; " in refused(str(protocol_file(tmp_path)), "--out", str(out), "--page")
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    protocol_file(tmp_path, seeds=[0], minutes={})  # a guess of time is no part of what is measured
    for same in (path, out / "protocol.yaml"):
        called(str(same), "--out", str(out), "--page")
    assert "minutes: {}" in (out / "protocol.yaml").read_text()


@pytest.mark.parametrize(
    "name", ["grid.yaml", "config.yaml", "results.csv", "results.parquet", "tables/own.md"]
)
def test_a_folder_of_something_else_stays_as_it_is(tmp_path: Path, name: str) -> None:
    path, out = protocol_file(tmp_path, seeds=[0]), tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("own")
    told = f"--out {out}: holds {Path(name).parts[0]}, which is not of a leaderboard; choose another folder"
    assert refused(str(path), "--out", str(out), "--page") == told
    assert refused(str(path), "--out", str(out)) == told
    assert [file for file in out.rglob("*") if file.is_file()] == [out / name]


def test_a_protocol_that_was_written_by_hand_stays_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "out"
    own = protocol_file(out, seeds=[0]).rename(out / "protocol.yaml")
    own.write_text(text := f"# why these attacks\n{own.read_text()}")
    called(str(own), "--out", str(out), "--page")
    assert own.read_text() == text
    told = f"{own} was written by hand and lacks rules that are asked for: add them there, "
    assert refused(str(own), "--out", str(out), "--page", "--add", "krum") == told + "or choose another --out"
    assert own.read_text() == text


def test_the_protocol_of_the_guide_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = ROOT / "docs" / "guides" / "leaderboard.md"
    (block,) = (one for one in blocks(guide) if one.kind == "yaml")
    (tmp_path / "mine.yaml").write_text(block.text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "Pool", Here)
    asked = ("mine.yaml", "--out", "runs/mine")
    assert "Rules on our shop, version 1: 27 of 27 cells are open" in called(*asked, "--list")
    called(*asked, "--only", "rule=median,seed=0,attack=label_to_target")
    page = (tmp_path / "runs" / "mine" / "leaderboard.html").read_text()
    assert "27 cells; 1 done, 0 in work, 0 failed, 26 open." in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "rule=meen"], "--only rule=meen: did you mean 'mean'?"),
        (["--add", "mising.rules:Mine", "--list"], "mising"),
        (["--device", "cuda:99"], "--device"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["leaderboard", str(protocol_file(tmp_path)), "--out", "x", *arguments])
    assert isinstance(result.exception, ConfigError)
    assert told in str(result.exception)


def test_a_log_that_is_not_here_is_open_unless_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"config": "base.yaml", "set": {"data.max_length": 5}}
    protocol = read_protocol(str(protocol_file(tmp_path, configs=["base.yaml", short])))
    known = Datasets.get

    def get(self: Datasets, config: object) -> object:
        if config.data.max_length:  # type: ignore[attr-defined]
            raise DataError("log.csv", "no such file")
        return known(self, config)  # type: ignore[arg-type]

    monkeypatch.setattr(Datasets, "get", get)
    found = plan(protocol, {"data": ["synthetic"]})
    assert len(found.cells) == 32
    assert found.absent == {"synthetic, last 5": "log.csv: no such file"}
    assert len(plan(protocol, None).cells) == 32
    with pytest.raises(DataError):
        plan(protocol, {})
    with pytest.raises(DataError):
        opened(protocol, ["seed=1"], Options(tmp_path / "out"))


def test_an_interrupted_board_says_what_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Here):
        def run(self, jobs: Iterable[Job], work: Work) -> Generator[Event, None, None]:
            raise KeyboardInterrupt
            yield

    monkeypatch.setattr(command, "Pool", Stopped)
    protocol, of = board(tmp_path, seeds=[0])
    finish(of, of.plan.cells[:2])
    result = CliRunner().invoke(app, ["leaderboard", protocol.wanted, "--out", str(of.folder)])
    assert result.exit_code == 130
    assert f"6 of 8 cells are open in {of.folder}; the same command goes on with them\n" in result.stderr
