"""Claims: which shard a replica serves, taken atomically and given back by the kernel when it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import RunError

LARGEST = 1000


class Slots:
    """Numbered lock files in a folder that all replicas of a service share.

    A claim is an exclusive ``flock`` for the life of the process: two replicas never hold one number,
    and a killed one frees its own at once. The file says who held it last, so that a replica that is
    restarted gets its number back. All is done under one more lock, so that a look at the claims
    cannot be taken for a claim.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, int] = {}

    def claim(self, holder: str, among: Collection[int] | None = None) -> int | None:
        """Take a free number: the one that ``holder`` had, else the lowest; None when none is free.

        ``among`` limits the choice. Raises RunError for a folder that cannot be written.
        """
        wanted = range(LARGEST) if among is None else sorted(among)
        with self._alone():
            mine = [n for n in wanted if self._last(n) == holder]
            for number in [*mine, *(n for n in wanted if n not in mine)]:
                if number in self._held or (lock := self._lock(number)) is None:
                    continue
                os.ftruncate(lock, 0)
                os.pwrite(lock, holder.encode(), 0)
                self._held[number] = lock
                return number
        return None

    def release(self, number: int) -> None:
        """Give a number back."""
        os.close(self._held.pop(number))

    def taken(self) -> list[int]:
        """Numbers that are held now, by any process."""
        found = []
        with self._alone():
            for path in sorted(self._folder.glob("[0-9]*")):
                if (lock := self._lock(int(path.name))) is None:
                    found.append(int(path.name))
                else:
                    os.close(lock)
        return found

    def _lock(self, number: int) -> int | None:
        file = os.open(self._folder / f"{number:03d}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return None
        return file

    def _last(self, number: int) -> str:
        with suppress(FileNotFoundError):
            return (self._folder / f"{number:03d}").read_text(encoding="utf-8", errors="replace")
        return ""

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise RunError(f"{self._folder}: cannot claim a shard: {error.strerror}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)
