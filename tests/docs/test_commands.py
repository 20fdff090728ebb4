"""Every command on a page exists, with its options, settings and files. Whole walks run elsewhere."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator

import click
import pytest
from typer.main import get_command

from common.errors import FedSieveError
from common.settings import load
from experiments import shipped
from experiments.cli import app
from experiments.data_cli import app as data_app
from tests.docs.pages import PAGES, ROOT, blocks, lines, spans

PLACEHOLDER = re.compile(
    r"…|\.\.\.|\b(CONFIG|GRID|FILE|DIR|FOLDER|KIND|RUN|KEY=VALUE|LOG|PLACE|URL)\b|<[a-z]"
)
"""What a reader replaces: such a command has no settings to check."""
OF_A_READER = ("grid.yaml", "mine.yaml")
"""Files that a page tells its reader to write."""


def commands() -> Iterator[tuple[str, str]]:
    """(place, command line) of every command of ours that a page shows."""
    for page in PAGES:
        for block in blocks(page):
            if block.kind in ("", "bash", "sh", "console", "shell"):
                for line in lines(block):
                    yield block.place, line
        for span in spans(page):
            yield span.place, span.text


def stripped(line: str) -> str:
    """Without variables before it, and without what its output goes into."""
    text = re.sub(r"^([A-Z_]+=\S* )+", "", line)
    return re.split(r" (?:\||>|&&) ", text, maxsplit=1)[0]


IN_SENTENCES = {(span.place, stripped(span.text)) for page in PAGES for span in spans(page)}
"""A sentence may name a command with the option that it is about, and no more."""


def ours(program: str) -> list[tuple[str, str]]:
    """The commands of ``program``."""
    found = []
    for place, line in commands():
        text = (
            re.sub(r"^([A-Z_]+=\S* )+", "", line).partition(" | ")[0].partition(" > ")[0].partition(" && ")[0]
        )
        if text.startswith(program + " "):
            found.append((place, text))
    return list(dict.fromkeys(found))


def leaf(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that ``words`` name and what is left for it."""
    of_data = words[:1] == ["data"]
    command: click.Command = get_command(data_app if of_data else app)
    words = words[1:] if of_data else words
    while isinstance(command, click.Group) and words:
        name, *words = words
        if name not in command.commands:
            raise click.UsageError(f"no command {name!r}")
        command = command.commands[name]
    return command, words


FEDSIEVE = ours("fedsieve")


@pytest.mark.parametrize(("place", "line"), FEDSIEVE, ids=[f"{p} {t}"[:90] for p, t in FEDSIEVE])
def test_a_fedsieve_command_has_the_options_that_a_page_gives_it(place: str, line: str) -> None:
    words = shlex.split(line.replace("…", "X"))[1:]
    shipped_files = [word for word in words if word.startswith("configs/")]
    assert [word for word in shipped_files if not (ROOT / word).is_file()] == [], place
    command, rest = leaf(words)
    if not rest or isinstance(command, click.Group):
        return  # a command by its name alone
    vague = bool(PLACEHOLDER.search(line))
    try:
        context = command.make_context(command.name, list(rest), resilient_parsing=vague)
    except (click.MissingParameter, click.BadOptionUsage):
        assert (place, line) in IN_SENTENCES, f"{place}: {line} is not whole"
        return
    except click.UsageError as error:
        raise AssertionError(f"{place}: {line}: {error.format_message()}") from error
    if command.name == "run" and not vague:
        check_settings(place, context)
    if command.name == "compare" and not vague:
        named = str(context.params["grid"])
        assert named in OF_A_READER or shipped.grid(named).is_file(), place


def check_settings(place: str, context: click.Context) -> None:
    """The config exists and the settings are valid."""
    named, overrides = context.params["config"], list(context.params["overrides"] or ())
    try:
        load(None if named is None else shipped.config(named), overrides)
    except FedSieveError as error:
        raise AssertionError(f"{place}: {error}") from error


BENCHMARKS = [(p, t) for p, t in ours("python") if t.startswith("python -m ")]


@pytest.mark.parametrize(("place", "line"), BENCHMARKS, ids=[f"{p} {t}"[:90] for p, t in BENCHMARKS])
def test_a_module_that_a_page_runs_exists_and_knows_its_options(place: str, line: str) -> None:
    module, *rest = shlex.split(line.replace("…", "X"))[2:]
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"{place}: no module {module}"
    assert spec.origin is not None, f"{place}: {module} is no program"
    if module.split(".")[0] in ("benchmarks", "experiments"):
        source = (ROOT / spec.origin).read_text(encoding="utf-8")
        options = [word.partition("=")[0] for word in rest if word.startswith("--")]
        assert [o for o in options if f'"{o}"' not in source] == [], place


MAKE = ours("make")


@pytest.mark.parametrize(("place", "line"), MAKE, ids=[f"{p} {t}"[:60] for p, t in MAKE])
def test_a_target_of_make_exists(place: str, line: str) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    wanted = [word for word in line.split()[1:] if "=" not in word]
    assert [word for word in wanted if word not in targets] == [], place


def test_the_pages_show_commands_of_each_kind() -> None:
    assert len(FEDSIEVE) > 60
    assert len(BENCHMARKS) > 20
    assert len(MAKE) > 5
