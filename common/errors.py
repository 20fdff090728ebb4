"""The exception tree: everything FedSieve raises on purpose.

FedSieveError
├── ConfigError          a setting is wrong: names the field and the valid values
│   └── UnknownName      a rule, attack, model or data set that does not exist
├── DataError            a log is malformed: names file, line, column and what was expected
├── WireError            a message is malformed: names the field and why (see common.wire)
├── RunError             a run cannot go on: too few nodes, nothing to resume
└── CheckpointError      a state folder is damaged or belongs to another run
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class FedSieveError(Exception):
    """Base class; the command line prints its text and exits with status 2."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Text and attributes, so that an error of a worker process arrives as it was raised."""
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[FedSieveError], args: tuple[Any, ...], attributes: dict[str, Any]) -> FedSieveError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class ConfigError(FedSieveError):
    """A setting is wrong."""


class UnknownName(ConfigError):
    """A name that no registry knows; ``setting``: where it was given.

    >>> str(UnknownName("aggregator", "krumm", ["krum", "mean"]))
    "unknown aggregator 'krumm': did you mean 'krum'? valid: krum, mean"
    """

    def __init__(self, kind: str, name: str, valid: Iterable[str], setting: str = "") -> None:
        self.kind, self.name, self.valid = kind, name, sorted(valid)
        where = f"{setting}: " if setting else ""
        super().__init__(f"{where}unknown {kind} {name!r}{choices(name, self.valid)}")


def choices(given: str, valid: Sequence[str], most: int = 12, near: str = "") -> str:
    """The end of an error: the nearest valid word, if one is near, and all; of many those ``most`` nearest.

    ``near``: the word to ask for, where the caller knows better.

    >>> choices("meen", ["krum", "mean"])
    ": did you mean 'mean'? valid: krum, mean"
    """
    asked = [near] if near else get_close_matches(given, valid, 1)
    listed = valid if len(valid) <= most else get_close_matches(given, valid, most, cutoff=0.0)
    rest = f" and {len(valid) - most} more" if len(valid) > most else ""
    question = f": did you mean {asked[0]!r}?" if asked else ";"
    return f"{question} valid: {', '.join(listed) or 'none'}{rest}"


def nearest_file(path: Path) -> str:
    """``; did you mean DIR/name?`` where something beside ``path`` has nearly its name, else nothing."""
    try:
        names = [one.name for one in path.parent.iterdir()]
    except OSError:
        return ""
    near = [one for one in get_close_matches(path.name, names, 1, 0.75) if one != path.name]
    return f"; did you mean {path.with_name(near[0])}?" if near else ""


class DataError(FedSieveError):
    """A log cannot be read.

    ``line`` counts from 1 and ``column`` names or numbers the field; both may be unknown.
    """

    def __init__(
        self, file: object, problem: str, line: int | None = None, column: str | None = None
    ) -> None:
        self.file, self.line, self.column = str(file), line, column
        where = f"{file}" + (f", line {line}" if line else "") + (f", column {column}" if column else "")
        super().__init__(f"{where}: {problem}")


class WireError(FedSieveError):
    """A message that crossed the wire breaks the contract.

    ``field`` says which part, ``reason`` is one word for counting, the text says what was expected.
    """

    def __init__(self, field: str, reason: str, detail: str) -> None:
        self.field, self.reason = field, reason
        super().__init__(f"{field}: {reason}: {detail}")


class RunError(FedSieveError):
    """A run cannot start or go on."""


class CheckpointError(FedSieveError):
    """Saved state is damaged or is not this run's."""
