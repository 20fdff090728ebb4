"""A wrong command line in one line: what is wrong, what is valid, the nearest; in words of its own.

Newer Typer has a Click of its own inside: errors are known by what they hold, and not by their class.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, get_type_hints

from common.config import RunConfig
from common.errors import ConfigError, choices
from common.explain import names
from common.settings import SECTIONS

WORDS = (
    (r"^Missing (argument|option) '([^']*)'.*", r"\1 \2 is missing"),
    (
        r"^Invalid value for '([^']*)': '?(.*?)'? is not a valid int(eger)?.*",
        r"\1: expected a whole number (given: '\2')",
    ),
    (
        r"^Invalid value for '([^']*)': '?(.*?)'? is not a valid float.*",
        r"\1: expected a number (given: '\2')",
    ),
    (
        r"^Invalid value for '([^']*)': (\S+) is not in the range x>=(.*?)\.?$",
        r"\1: expected at least \3 (given: \2)",
    ),
    (
        r"^Invalid value for '([^']*)': (\S+) is not in the range (\S+)<=x<=(.*?)\.?$",
        r"\1: expected \3 to \4 (given: \2)",
    ),
    (r"^Invalid value for '([^']*)': (.*)", r"\1: \2"),
    (r"^Option '([^']*)' requires (an|\d+) arguments?.*", r"\1: expected a value after it"),
    (r"^Option '([^']*)' does not take a value.*", r"\1: takes no value"),
    (r"^Got unexpected extra arguments? \((.*)\).*", r"\1: one argument too many"),
)
EXTRA_SETTING = r"^Got unexpected extra arguments? \((\w[\w.]*=[^\s)]*)"


def is_usage(error: BaseException) -> bool:
    """Whether this is Click's error about a command line."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def told(error: Any, given: Sequence[str] = ()) -> str:
    """The line about ``error`` in the command line ``given``: the command, and how to see what it takes."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "fedsieve"
    return f"{_problem(error, context, given)}; see {command} --help"


def with_help(command: Any) -> Any:
    """``command`` and those below it with the help of their arguments: Click 8.5 loses it in older Typer."""
    for each in _all_of(command):
        callback = inspect.unwrap(each.callback) if each.callback is not None else None
        hints = get_type_hints(callback, include_extras=True) if callback is not None else {}
        for one in each.params:
            if not getattr(one, "help", None) and one.name in hints:
                meta = getattr(hints[one.name], "__metadata__", ())
                one.help = next((part.help for part in meta if getattr(part, "help", None)), None)
    return command


def without_empty_paths(command: Any) -> Any:
    """``command`` and those below it, which take no empty path: it would be the folder one stands in."""
    for one in (one for each in _all_of(command) for one in each.params):
        if type(one.type).__name__.endswith("Path"):
            one.type.convert = _not_empty(one.type.convert, _called(one))
    return command


def _all_of(command: Any) -> Iterator[Any]:
    """``command`` and those below it."""
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from _all_of(below)


def _called(one: Any) -> str:
    """``--out`` of an option, ``DIR`` of an argument."""
    named: str = one.opts[0]
    return named if named.startswith("-") else one.metavar or one.name.upper()


def _not_empty(convert: Any, name: str) -> Any:
    def checked(value: Any, *context: Any) -> Any:
        if value == "":
            raise ConfigError(f"{name}: expected a path, found an empty text (a variable that is not set?)")
        if "\0" in str(value):
            raise ConfigError(f"{name}: expected a path, found {value!r}")
        return convert(value, *context)

    return checked


def _problem(error: Any, context: Any, given: Sequence[str]) -> str:
    text = " ".join(error.format_message().split())
    if option := getattr(error, "option_name", None) if "No such option" in text else None:
        if meant := _as_settings(option, context, given):
            return f"unknown option {option}: a setting is given with {meant}"
        return f"unknown option {option}{choices(option, _options(context))}"
    if (setting := re.match(EXTRA_SETTING, text)) and _settings_of(context):
        return f"{setting[1]}: --set is missing before it"
    if named := re.match(r"No such command '(.*?)'", text):
        return f"unknown command {named[1]!r}{choices(named[1], _commands(context), most=20)}"
    for pattern, words in WORDS:
        if re.match(pattern, text):
            return re.sub(pattern, words, text)
    return text.removesuffix(".")


def _as_settings(option: str, context: Any, given: Sequence[str]) -> str:
    """``--set train.rounds=5`` for ``--rounds 5``, where settings are called that; of several each."""
    wanted = option.lstrip("-").replace("-", "_")
    found = [name for name in _settings_of(context) if name.rpartition(".")[2] == wanted]
    after = [*given[given.index(option) + 1 :], ""][0] if option in given else ""
    after = next((one.partition("=")[2] for one in given if one.startswith(f"{option}=")), after)
    value = shlex.quote(after) if after and not after.startswith("-") else "…"
    return " or ".join(f"--set {name}={value}" for name in found)


def _settings_of(context: Any) -> list[str]:
    """The settings, by dotted name, that ``--set`` of this command takes; none where it takes others."""
    if context is None or "--set" not in _options(context) or context.command_path == "fedsieve check":
        return []
    every = [*SECTIONS, *names(RunConfig)]
    return [name for name in every if " data " not in context.command_path or name.startswith("data.")]


def _options(context: Any) -> list[str]:
    found = [name for one in context.command.params for name in one.opts if name.startswith("--")]
    return [*found, "--help"]


def _commands(context: Any) -> list[str]:
    return list(context.command.list_commands(context))
