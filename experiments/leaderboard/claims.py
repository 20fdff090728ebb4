"""Who computes what: claims in a folder that several machines share, without a lock server.

A claim of a key is an empty file ``KEY.g``, created exclusively: of all who want it one gets it. Its owner
touches it every few seconds. One that was not touched for ``patience_s`` is stale, and whoever creates
``KEY.(g+1)`` owns the key from then on; again only one can. So a claim is never removed to be taken over, and
two machines that both see it stale cannot both win. Ages are differences of times that the folder's own file
system gave, so clocks of machines may differ.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from common.errors import RunError

BEATS = 6
"""Signs of life within the patience of others."""


@dataclass(frozen=True)
class Claim:
    """``key`` in its ``generation``, which counts the owners from 1."""

    key: str
    generation: int

    @property
    def name(self) -> str:
        return f"{self.key}.{self.generation}"


class Claims:
    """The claims of this process, kept alive by a thread while the context is open; left alone at its end."""

    def __init__(self, folder: Path, patience_s: float) -> None:
        self.folder, self.patience_s = folder, patience_s
        self._clock = folder / f".clock-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._mine: dict[str, Claim] = {}
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Claims:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clock.touch()
        except OSError as error:
            raise RunError(f"--out: cannot write {self.folder}: {error.strerror}") from error
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._beating.join()
        for claim in list(self._mine.values()):
            self.release(claim)
        self._clock.unlink(missing_ok=True)

    def held(self) -> dict[str, tuple[int, bool]]:
        """By key, the latest generation and whether its owner is alive."""
        self._clock.touch()
        now = self._clock.stat().st_mtime
        found: dict[str, tuple[int, bool]] = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                key, _, number = entry.name.rpartition(".")
                if key and number.isdecimal() and int(number) > found.get(key, (0, False))[0]:
                    with suppress(FileNotFoundError):  # done in this moment
                        alive = now - entry.stat().st_mtime < self.patience_s
                        found[key] = int(number), alive
        return found

    def take(self, key: str, held: dict[str, tuple[int, bool]]) -> Claim | None:
        """The key, if nobody living has it by ``held``, and nobody is faster now; else None."""
        generation, alive = held.get(key, (0, False))
        if alive:
            return None
        claim = Claim(key, generation + 1)
        try:
            os.close(os.open(self.folder / claim.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            return None
        with self._guard:
            self._mine[key] = claim
        return claim

    def release(self, claim: Claim) -> None:
        """Leave a key to others, who see it stale at once."""
        with self._guard:
            self._mine.pop(claim.key, None)
        with suppress(FileNotFoundError):
            os.utime(self.folder / claim.name, (0, 0))

    def finish(self, claim: Claim) -> None:
        """Drop every claim of a key whose result is in its place."""
        with self._guard:
            self._mine.pop(claim.key, None)
        for generation in range(1, claim.generation + 1):
            (self.folder / f"{claim.key}.{generation}").unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(self.patience_s / BEATS):
            with self._guard:
                for claim in self._mine.values():
                    with suppress(OSError):  # a share that is away for a moment
                        os.utime(self.folder / claim.name)
