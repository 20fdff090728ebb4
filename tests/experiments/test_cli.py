"""``fedsieve``: what it prints, writes and refuses."""

from __future__ import annotations

import json
import logging
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from rich.cells import cell_len
from typer.testing import CliRunner

from common.data import load as load_log
from common.data import write_shards
from common.errors import FedSieveError
from common.settings import load
from emulation.federation import federate
from experiments import cli
from experiments.catalogue import entries as listed
from tests.server.federation import BASE, LOG, Watch, config, same_model

KINDS = "aggregators, attacks, constraints, datasets, models, optimizers, pre, regularisers"
SETS = [part for item in BASE if not item.startswith("strategy.aggregator") for part in ("--set", item)]


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    logger = logging.getLogger("flwr")
    level = logger.level
    yield
    logger.setLevel(level)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def refused(*arguments: str | Path) -> str:
    """The text of the FedSieveError that ends a command."""
    result = invoke(*arguments)
    assert isinstance(result.exception, FedSieveError), result.output
    return str(result.exception)


def test_run_prints_the_table_and_writes_the_files(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = invoke("run", *SETS, "--out", out)
    assert result.exit_code == 0, result.output
    summary = json.loads((out / "summary.json").read_text())
    assert f"{summary['test']['ndcg@10']:.4f}" in result.output
    assert "round 4 of 4, valid HR@10" in result.output
    assert re.search(r"sieve: round 3 of 4, \d+ of 16 devices admitted, .*about \S+ s left\n", result.output)
    assert "sasrec on devices=40" in result.output
    assert "Results in" in result.output
    assert (out / "report.html").exists()
    assert "aggregator sieve, optimizer" not in result.output
    assert logging.getLogger("flwr").level == logging.WARNING


def test_run_reads_yaml_and_set_wins(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("seed: 3\ntrain: {rounds: 9}\nstrategy: {aggregator: median}\n")
    out = tmp_path / "run"
    result = invoke("run", tmp_path / "run.yaml", *SETS, "--out", out)
    assert result.exit_code == 0, result.output
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["seed"], summary["rounds"], summary["aggregator"]) == (3, 4, "median")


def test_without_out_a_fresh_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert invoke("run", *SETS, "--set", "train.rounds=1").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [
        "synthetic-sasrec-sieve-no-attack",
        "synthetic-sasrec-sieve-no-attack-2",
    ]


def stopped(out: Path) -> None:
    with pytest.raises(InterruptedError):
        federate(config(), out, listeners=[Watch(lambda found: found.round == 3)])


def test_resume_takes_the_settings_of_the_folder(tmp_path: Path) -> None:
    stopped(tmp_path / "run")
    result = invoke("run", "--resume", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    federate(config(), tmp_path / "whole")
    assert same_model(tmp_path / "run", tmp_path / "whole")


def test_resume_with_set_starts_from_the_settings_of_the_folder(tmp_path: Path) -> None:
    stopped(tmp_path / "run")
    told = refused("run", "--resume", "--out", tmp_path / "run", "--set", "strategy.lr=1")
    assert "other settings: strategy.lr was 0.004, given 1.0" in told
    result = invoke("run", "--resume", "--out", tmp_path / "run", "--set", "eval.every=1")
    assert result.exit_code == 0, result.output


def test_resume_knows_the_log_by_its_content(tmp_path: Path) -> None:
    """A log that moved is taken; one with one interaction more is refused, whatever its name."""
    write_shards(load_log("synthetic", LOG), 1, tmp_path / "old")
    log = tmp_path / "old" / "node-000.parquet"
    with pytest.raises(InterruptedError):
        federate(
            config("data.name=''", f"data.path={log}"),
            tmp_path / "run",
            listeners=[Watch(lambda found: found.round == 3)],
        )
    shutil.move(tmp_path / "old", tmp_path / "new")
    moved = tmp_path / "new" / "node-000.parquet"
    resume = ("run", "--resume", "--out", tmp_path / "run", "--set")
    other = load_log("synthetic", LOG.replace("length=8", "length=9"))
    write_shards(other, 1, tmp_path / "other")
    told = refused(*resume, f"data.path={tmp_path / 'other' / 'node-000.parquet'}")
    assert "other data: data was" in told
    result = invoke(*resume, f"data.path={moved}")
    assert result.exit_code == 0, result.output
    assert load(tmp_path / "run" / "config.yaml").data.path == str(moved)


def test_a_used_folder_is_refused_without_resume(tmp_path: Path) -> None:
    stopped(tmp_path / "run")
    assert "go on with it (--resume;" in refused("run", *SETS, "--out", tmp_path / "run")


def test_resume_needs_a_folder_with_a_run(tmp_path: Path) -> None:
    assert "--resume needs --out" in refused("run", "--resume")
    assert "nothing to resume" in refused("run", "--resume", "--out", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("strategy.aggregator=krumm", "unknown aggregator 'krumm': did you mean 'krum'? valid: krum, "),
        ("attack.name=krumm", "unknown attack 'krumm'; valid: "),
        ("model.name=bert", "unknown model 'bert': did you mean 'bert4rec'? valid: bert4rec, "),
        ("data={name: ml-2m}", "unknown data set 'ml-2m': did you mean 'ml-20m'? valid: "),
        ("strategy.optimizer=sgdd", "unknown optimizer 'sgdd': did you mean 'sgd'? valid: "),
        ("train.rouds=3", "unknown setting train.rouds: did you mean 'train.rounds'? valid: train.rounds, "),
        ("train.rounds=-3", "train.rounds: expected a whole number from 1 to 10,000,000 (given: -3)"),
        ("train.negatives=some", "train.negatives: expected full, slice or device (given: 'some')"),
        ("train.rounds", "expected KEY=VALUE"),
        (
            "eval.targets=[229]",
            "eval.targets: the log has no item '229'; did you mean '29'? valid: ids, as in '1', or numbers "
            "of the catalogue, #1 to #30",
        ),
        ("attack.targets=hot", "attack.targets: the log has no item 'hot'"),
        ("attack.targets=clod", "attack.targets: the log has no item 'clod'; did you mean 'cold'?"),
        ("eval.group='#31'", "eval.group: item #31; valid: #1 to #30, or an id of the log"),
    ],
)
def test_errors_name_the_field_and_what_is_valid(tmp_path: Path, setting: str, told: str) -> None:
    assert told in refused("run", *SETS, "--set", setting, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_engine_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    assert "--engine 'spark'; valid: " in refused("run", "--engine", "spark")
    assert "cannot read" in refused("run", tmp_path / "nope.yaml")


@pytest.mark.parametrize(
    "what", ["aggregators", "attacks", "constraints", "regularisers", "models", "datasets"]
)
def test_list_shows_every_name(what: str) -> None:
    found = invoke("list", what, "--json")
    assert found.exit_code == 0
    entries = json.loads(found.output)
    assert entries == listed(what)
    shown = invoke("list", what)
    assert shown.exit_code == 0
    for entry in entries:
        assert entry["summary"]
        assert entry["name"] in shown.output


def test_list_alone_says_what_there_is() -> None:
    found = {entry["kind"]: entry for entry in json.loads(invoke("list", "--json").output)}
    assert ", ".join(sorted(found)) == KINDS
    for kind, entry in found.items():
        names = [one["name"] for one in listed(kind)]
        assert entry["names"] == names
        assert entry["count"] == len(names)
    assert "fedsieve list KIND" in invoke("list").output


@pytest.mark.parametrize("kind", KINDS.split(", "))
def test_a_list_fits_into_a_terminal_and_breaks_no_word(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = invoke("list", kind).output.splitlines()
    assert max(map(cell_len, lines)) <= 80
    cells = {word for line in lines if line.startswith("│") for word in line.split("│")[2].split()}
    known = {word for one in listed(kind) for word in one["summary"].replace("``", "`").split()}
    assert cells <= known
    monkeypatch.delenv("COLUMNS")  # in a pipe an entry is a line, for grep
    whole = [line for line in invoke("list", kind).output.splitlines() if line.startswith("│")]
    assert len(whole) == len(listed(kind))


def test_list_says_all_of_one() -> None:
    shown = " ".join(invoke("list", "aggregators", "krum").output.replace("│", " ").split())
    (krum,) = (one for one in listed("aggregators") if one["name"] == "krum")
    for fact in ("cost", "breakdown", "reference", "parameters"):
        assert f"{fact} {krum[fact]}" in shown
    assert json.loads(invoke("list", "aggregators", "krum", "--json").output) == krum
    told = refused("list", "aggregators", "krmu")
    assert told.startswith("unknown name in aggregators 'krmu': did you mean 'krum'? valid: krum, ")


def test_list_of_something_else_is_refused() -> None:
    told = refused("list", "optimisers")
    assert told == f"unknown list 'optimisers': did you mean 'optimizers'? valid: {KINDS}"


def test_main_ends_with_status_2_and_one_line() -> None:
    command = [sys.executable, "-m", "experiments.cli", "list", "nothing"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == f"fedsieve: unknown list 'nothing'; valid: {KINDS}\n"


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (FedSieveError("what was wrong"), 2, "fedsieve: what was wrong\n"),
        (KeyboardInterrupt(), 130, "fedsieve: interrupted\n"),
    ],
)
def test_main_tells_errors_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    told: str,
) -> None:
    def fails(app: object) -> None:
        raise error

    monkeypatch.setattr("typer.main.get_command", fails)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status
    assert capsys.readouterr().err == told


def started(out: Path, rounds: int, **streams: Any) -> subprocess.Popen[str]:
    """A run in a process where signals do what they do in a terminal, whatever it was with who starts it."""
    code = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); s.signal(s.SIGHUP, s.SIG_DFL)"
    code += "; s.signal(s.SIGTERM, s.SIG_DFL); import experiments.cli as c; c.main()"
    settings = [*SETS, "--set", f"train.rounds={rounds}", "--set", "eval.every=1", "--out", str(out)]
    command = [sys.executable, "-c", code, "run", *settings]
    return subprocess.Popen(command, text=True, start_new_session=True, **streams)


def ended(run: subprocess.Popen[str]) -> tuple[int, str]:
    """Its status and what it said on stderr."""
    try:
        _, said = run.communicate(timeout=120)
    finally:
        run.kill()
    return run.returncode, said


def test_a_reader_that_goes_away_costs_the_run_nothing(tmp_path: Path) -> None:
    with started(tmp_path / "run", 4, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        run.stdout.close()
        assert run.wait(120) == 0
    assert (tmp_path / "run" / "summary.json").exists()


def test_a_full_place_for_what_is_told_is_said_once(tmp_path: Path) -> None:
    out, pipe = tmp_path / "run", subprocess.PIPE
    with Path("/dev/full").open("w") as full, started(out, 4, stdout=full, stderr=pipe) as run:
        assert ended(run) == (0, "fedsieve: cannot write what is told here: No space left on device\n")
    assert (out / "summary.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_end_by_a_scheduler_or_a_closed_terminal_is_saved(tmp_path: Path, number: int) -> None:
    out = tmp_path / "run"
    with started(out, 2000, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        while not (out / "metrics.jsonl").exists() or not (out / "metrics.jsonl").stat().st_size:
            assert run.poll() is None
            time.sleep(0.1)
        run.send_signal(number)
        status, said = ended(run)
    assert status == 130
    assert f"go on with `fedsieve run --resume --out {out}`" in said
    assert "\x1b" not in said
    assert (out / "state").exists()


def test_what_the_system_refuses_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is too long, or a folder that may not be entered."""
    assert cli.call(["report", "a" * 300]) == 2
    told = capsys.readouterr().err
    assert told.endswith("File name too long\n")
    assert told.count("\n") == 1


def test_a_rate_that_is_no_number_makes_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["run", "--centralised", "--rate", "nan", "--out", str(tmp_path / "run")]) == 2
    assert "--rate: expected a finite number, given nan" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (["run", "ml-100k", "--out", ""], "--out"),
        (["export", "--run", "", "--out", "x"], "--run"),
        (["report", ""], "DIR"),
        (["data", "encode", "", "--catalogue", "c", "--out", "o"], "LOG"),
    ],
)
def test_an_empty_path_is_not_the_folder_one_is_in(
    line: list[str],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.call(line) == 2
    told = f"fedsieve: {name}: expected a path, found an empty text (a variable that is not set?)\n"
    assert capsys.readouterr().err == told
    assert not list(tmp_path.iterdir())
