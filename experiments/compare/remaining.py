"""How long the jobs of a grid will still take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments.jobs import Event


@dataclass(frozen=True)
class Stretch:
    """The rounds of a job, first to last, and the devices of each."""

    first: int
    last: int
    devices: int

    def after(self, round_: int) -> int:
        """Device updates after ``round_``."""
        return (self.last - round_) * self.devices


@dataclass
class Remaining:
    """Seconds left, by device updates: of these, and not of cells, is a grid's time made.

    ``stretches`` by job. So the first rounds already tell, warm-ups count for what they are, and the rounds
    that an earlier start of the grid did count as neither done nor left.
    """

    stretches: Mapping[str, Stretch]
    _done: int = 0
    _at: dict[str, int] = field(default_factory=dict)

    def heard(self, event: Event) -> None:
        """A job got so far or ended."""
        key = event.job.key
        stretch = self.stretches[key]
        if event.kind == "round":
            self._done += (event.round - self._at.get(key, event.round - 1)) * stretch.devices
            self._at[key] = event.round
        elif event.kind in ("done", "failed"):
            self._at[key] = stretch.last

    def seconds(self, elapsed: float) -> float | None:
        """After ``elapsed`` seconds; None before the first round has ended."""
        if not self._done:
            return None
        left = sum(one.after(self._at.get(key, one.first - 1)) for key, one in self.stretches.items())
        return elapsed / self._done * left
