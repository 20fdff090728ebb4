"""Mistakes: what each is told, as docs/messages.md has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common import wrong_python
from experiments import messages, usage
from experiments.versions import own

LIST = [(command, text) for group in messages.mistakes().values() for command, text in group]
WORDS_OF_LIBRARIES = re.compile(
    r"Traceback|pydantic|Input should|Value error|Errno|Usage:|Error:|No such option|\w+Error\b|while parsing"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("mistakes")
    messages.prepare(made)
    return made


@pytest.mark.parametrize(("command", "message"), LIST, ids=[command for command, _ in LIST])
def test_a_mistake_is_told_as_the_page_says(folder: Path, command: str, message: str) -> None:
    before = sorted(folder.rglob("*"))
    status, text = messages.said(command, folder)
    assert (status, text) == (2, message)
    assert text.startswith("fedsieve: ")
    assert not WORDS_OF_LIBRARIES.search(text)
    assert sorted(folder.rglob("*")) == before  # nothing is begun


def test_the_page_has_forty_mistakes_and_is_what_the_list_says() -> None:
    assert len(set(LIST)) == len(LIST) >= 40
    assert messages.PAGE.read_text(encoding="utf-8") == messages.page()


def test_every_command_has_help_for_all_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the Click and Typer that are installed; nothing in it is taken for markup."""
    from typer.main import get_command

    from experiments.cli import app, call

    def walk(command: object, words: list[str]) -> None:
        for one in getattr(command, "params", []):
            assert one.name == "help" or one.help, (words, one.name)
            assert "[" not in (one.help or ""), (words, one.name)
        for name, below in getattr(command, "commands", {}).items():
            walk(below, [*words, name])

    walk(usage.with_help(get_command(app)), [])
    assert call(["run", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "settings as YAML, or the name of a shipped" in shown
    assert "folder of the run's files" in shown


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    from experiments.cli import call

    assert call(["--version"]) == 0
    assert re.fullmatch(
        rf"fedsieve {re.escape(own())} \(Python 3[.\d]+, PyTorch \S+, Flower \S+\)\n", capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("version", "refused"), [((3, 10), True), ((3, 11), False), ((3, 14), False), ((3, 15), True)]
)
def test_a_python_that_is_too_old_or_too_new_is_named(version: tuple[int, int], refused: bool) -> None:
    told = wrong_python(version)
    assert bool(told) == refused
    if refused:
        assert told.startswith(f"Python 3.{version[1]}: FedSieve needs 3.11 to 3.14")


def test_the_program_ends_in_one_line_on_such_a_python(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    from experiments import launch

    class Old(tuple):  # type: ignore[type-arg]
        pass

    monkeypatch.delitem(sys.modules, "common")
    monkeypatch.setattr(sys, "version_info", Old((3, 10, 4, "final", 0)))
    with pytest.raises(SystemExit) as ended:
        launch.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("fedsieve: Python 3.10: FedSieve needs 3.11 to 3.14; ")


def test_a_ctrl_c_while_the_program_starts_ends_it_without_a_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    from experiments import launch

    class Interrupted:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "experiments.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "experiments.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        launch.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("run --targets=5", "--set train.targets=5 or --set attack.targets=5 or --set eval.targets=5; see"),
        ("run --model gru4rec", "--set model=gru4rec; see"),
        ("submit --rounds --detach", "--set train.rounds=…; see"),
        ("data check log.csv --min-rating 3", "--set data.min_rating=3; see"),
        ("data check log.csv --rounds 3", "unknown option --rounds"),
        ("check krum --rounds 3", "unknown option --rounds; valid: --kind, "),
        ("list --seed 3", "unknown option --seed; valid: --json, "),
        ("run log.txt", "(given: 'u1 1 2 3'); a log is given with --set data.path=log.txt"),
    ],
)
def test_a_setting_given_as_an_option_and_a_log_as_settings_are_put_right(
    folder: Path, command: str, told: str
) -> None:
    (folder / "log.txt").write_text("u1 1 2 3\n")
    status, text = messages.said(f"fedsieve {command}", folder)
    assert status == 2
    assert told in text
    assert text.count("\n") == 0
    (folder / "log.txt").unlink()
