"""``results``: bring what a run wrote to the host's ``./runs/``, as files of whoever owns that folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rich.console import Console

from common.errors import RunError
from experiments.containers.places import Places


def deliver(places: Places, console: Console) -> None:
    """Copy each run of the volume, under a new name where one is taken. Raises RunError."""
    become_owner(places.runs)
    found = sorted(path for path in places.results.iterdir() if path.is_dir())
    if not found:
        raise RunError("there are no results yet")
    for made in found:
        home = fresh(places.runs, made.name)
        bring(made, home)
        files = sorted(path.name for path in home.iterdir() if path.is_file())
        console.print(f"runs/{home.name}/: {', '.join(files)}", highlight=False, soft_wrap=True)


def become_owner(folder: Path) -> None:
    """From root without capabilities to the owner of ``folder``, whoever that is on the host.

    A folder that is root's, as Docker makes one that is missing, leaves root without capabilities; a
    process that is not root stays who it is.
    """
    if os.getuid() == 0:
        owner = folder.stat()
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def fresh(parent: Path, name: str) -> Path:
    """``parent/name``, or the first of ``name-2``, ``name-3``, … that does not exist."""
    number = 1
    while (folder := parent / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder


def bring(made: Path, home: Path) -> None:
    """Copy all but the checkpoint; owners and modes are those of this process. Raises RunError.

    A run that has ended needs no checkpoint, whose key of the server is for its owner alone.
    """
    try:
        for folder, below, files in os.walk(made):
            if "state" in below:
                below.remove("state")
            to = home / Path(folder).relative_to(made)
            to.mkdir(parents=True)
            for file in files:
                shutil.copyfile(Path(folder) / file, to / file)
    except OSError as error:
        raise RunError(f"{error.filename}: {error.strerror}: may its owner write ./runs?") from error
