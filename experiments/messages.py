"""``python -m experiments.messages``: docs/messages.md, from one list of mistakes and what each is told.

A test runs the same list. With ``--update`` the messages of the list are made anew, to be read and committed.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import yaml

from experiments import cli
from experiments.shipped import HOME

DOCS = HOME / "docs"
LIST, PAGE = DOCS / "messages.yaml", DOCS / "messages.md"
HEAD = """# Messages

A mistake ends a command with one line and exit status 2, before anything is trained. The line names the
setting, what was given, what is valid and the nearest name. Several wrong settings get a line each.

This page is written by `python -m experiments.messages` from `messages.yaml`; a test runs every
command in it. The files that the commands name stand at the end.
"""


def mistakes() -> dict[str, list[tuple[str, str]]]:
    """Heading -> (command, message) of each mistake."""
    found = yaml.safe_load(LIST.read_text(encoding="utf-8"))["mistakes"]
    return {title: [(one["command"], one["message"]) for one in group] for title, group in found.items()}


def files() -> dict[str, str]:
    """The files that the commands read, by name."""
    found: dict[str, str] = yaml.safe_load(LIST.read_text(encoding="utf-8"))["files"]
    return found


def prepare(folder: Path) -> None:
    """Write the files of the list to ``folder``."""
    for name, text in files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def said(command: str, folder: Path) -> tuple[int, str]:
    """Exit status of a command line, run in ``folder`` and this process, and its text on stderr."""
    errors = io.StringIO()
    with chdir(folder), redirect_stderr(errors), redirect_stdout(io.StringIO()):
        status = cli.call(shlex.split(command)[1:])
    return status, errors.getvalue().strip()


def page() -> str:
    """docs/messages.md."""
    return "\n".join([HEAD, *_parts()])


def _parts() -> Iterator[str]:
    for title, group in mistakes().items():
        yield f"## {title}\n\n| mistake | message |\n|---|---|"
        yield from (f"| <code>{plain(command)}</code> | {plain(message)} |" for command, message in group)
        yield ""
    yield "## Files of this page\n"
    yield from (f"`{name}`\n\n```text\n{text.rstrip()}\n```\n" for name, text in files().items())


def plain(text: str) -> str:
    """A cell in which nothing is Markdown."""
    return (
        re.sub(r"[^\w\s.,:;=/?()'-]", lambda found: f"&#{ord(found[0])};", text)
        .replace("_", "&#95;")
        .replace("\n", "<br>")
    )


def update() -> None:
    """Run every command of the list and write down what it says."""
    found = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for group in found["mistakes"].values():
            for one in group:
                status, one["message"] = said(one["command"], Path(folder))
                if status != 2:
                    raise SystemExit(f"{one['command']}: ended with status {status}: {one['message']}")
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=110)
    LIST.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    os.environ["PYTHONSAFEPATH"] = "1"
    if "--update" in sys.argv[1:]:
        update()
    PAGE.write_text(page(), encoding="utf-8")
