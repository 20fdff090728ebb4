"""What the wheel carries beside code: the configs, the grids, and the app's part of ``pyproject.toml``.

In a checkout the two are links to the files at its root, so that there is one of each. A command takes a
name (``demo``, ``smoke``) or the path of a file, which wins.
"""

from __future__ import annotations

import re
from pathlib import Path
from shlex import quote

from common.errors import ConfigError, choices, nearest_file

FOLDER = Path(__file__).resolve().parent
CONFIGS = FOLDER / "configs"
GRIDS = CONFIGS / "compare"
PROTOCOLS = CONFIGS / "leaderboard"
EDITION = "v1"
"""The protocol of the leaderboard that is in force."""
APP = FOLDER / "flower.toml"
"""``pyproject.toml``, where ``flwr run`` finds the app; by that name ruff would take it for settings here."""

HOME = FOLDER.parents[1]
"""The folder with our packages: the root of a checkout, or ``site-packages``."""


def config(wanted: str | Path, beside: Path = Path()) -> Path:
    """The file of settings at a path relative to ``beside``, or a shipped one by its bare name.

    Raises ConfigError for a name that is neither, with the valid ones, for a setting and for a log.
    """
    wanted = Path(wanted)
    if re.match(r"\w[\w.]*=", str(wanted)) and not (beside / wanted).is_file():
        told = "is a setting, and --set is missing before it"
        raise ConfigError(f"config {str(wanted)!r} {told}: --set {quote(str(wanted))}")
    found = _find(wanted, beside, CONFIGS, "config")
    if found.is_file() and _is_log(found):
        given = quote(f"data.path={found}")
        raise ConfigError(f"{found} is a log, and no file of settings; a log is given with --set {given}")
    return found


def grid(wanted: str | Path) -> Path:
    """The same for the file of a grid."""
    return _find(Path(wanted), Path(), GRIDS, "grid")


def protocol(wanted: str | Path) -> Path:
    """The same for the protocol of a leaderboard."""
    return _find(Path(wanted), Path(), PROTOCOLS, "protocol")


def _is_log(file: Path) -> bool:
    """By its ending; JSON and text may be settings."""
    from common.data.readers import READERS, ending  # they take a while to import

    inner, packed = ending(file)
    return bool(packed) or (inner in READERS and inner not in (".json", ".txt"))


def _find(wanted: Path, beside: Path, folder: Path, kind: str) -> Path:
    if not wanted.parts:
        raise ConfigError(f"{kind}: expected a name or a YAML file, found an empty path")
    place = beside / wanted
    if place.is_file() or wanted.suffix or len(wanted.parts) != 1:
        return place
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if wanted.name in names:
        return folder / f"{wanted.name}.yaml"
    told = choices(wanted.name, names, most=len(names))
    raise ConfigError(f"unknown {kind} {wanted.name!r}{told}, or a YAML file{nearest_file(place)}")
