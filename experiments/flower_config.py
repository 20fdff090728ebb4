"""Settings as Flower takes them: TOML, flat, with every default written out in ``pyproject.toml``.

``flwr run`` refuses an override of a key that the app's own config lacks, so the config lists them all.
``python -m experiments.flower_config`` writes that block anew after a change of ``common/config``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.config import RunConfig
from common.errors import ConfigError
from common.settings import Scalar, to_flat
from experiments.shipped import HOME

PROJECT = HOME / "pyproject.toml"
BEGIN = "# settings: begin (written by `python -m experiments.flower_config`)"
END = "# settings: end"
TABLE = "tool.flwr.app.config"
OWN: Mapping[str, Scalar] = {"out": "", "resume": False}
"""What the ServerApp reads beside the settings: where to write (by default anew), and whether to go on."""


def defaults() -> dict[str, Scalar]:
    """Dotted key -> default of everything that ``flwr run --run-config`` may set."""
    return {**OWN, **to_flat(RunConfig(), secret=True)}


def toml_value(value: Scalar) -> str:
    """One TOML value; text with double quotes (JSON) in single quotes, as Flower's command lines need it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if '"' in value and not any(c in "'\x7f" or c < " " for c in value):
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # the two agree but for DEL


def toml(flat: Mapping[str, Scalar]) -> str:
    """A line a setting, for ``flwr run --run-config FILE.toml``: any text survives, JSON too."""
    return "".join(f"{key} = {toml_value(value)}\n" for key, value in flat.items())


def argument(flat: Mapping[str, Scalar]) -> str:
    """``a=1 b="x" c='{"d": 2}'`` for Flower's command lines.

    Raises ConfigError for text that only a TOML file can hold: with both kinds of quotes, or escapes.
    """
    for key, value in flat.items():
        if isinstance(value, str) and "\\" in toml_value(value):
            raise ConfigError(f"{key}: {value!r} does not fit on Flower's command line")
    return " ".join(f"{key}={toml_value(value)}" for key, value in flat.items())


def block() -> str:
    """The text between the marks: a table of what stands alone, then one a group of settings."""
    tables: dict[str, dict[str, Scalar]] = {TABLE: {}}
    for key, value in defaults().items():
        group, dot, leaf = key.rpartition(".")
        tables.setdefault(TABLE + dot + group, {})[leaf] = value
    return "\n".join(f"[{name}]\n{toml(values)}" for name, values in tables.items())


def renewed(text: str) -> str:
    """``pyproject.toml`` with the block of today. Raises ConfigError where a mark is missing."""
    before, begin, rest = text.partition(BEGIN + "\n")
    _, end, after = rest.partition(END + "\n")
    if not begin or not end:
        raise ConfigError(f"{PROJECT.name}: expected a block between {BEGIN!r} and {END!r}")
    return f"{before}{begin}{block()}{end}{after}"


def main(argv: Sequence[str] | None = None, project: Path = PROJECT) -> int:
    """Write the block; with ``--check`` only say whether it is up to date (status 1 if not)."""
    options = list(sys.argv[1:] if argv is None else argv)
    if options not in ([], ["--check"]):
        print("usage: python -m experiments.flower_config [--check]", file=sys.stderr)
        return 2
    old = project.read_text(encoding="utf-8")
    new = renewed(old)
    if options and new != old:
        print(f"{project.name}: the settings changed; run python -m experiments.flower_config")
        return 1
    if new != old:
        project.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
