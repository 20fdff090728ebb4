"""What a server that looks at row values can guess of the histories behind them.

Four guesses, each from what a server has: one update alone, the marks that it keeps for popularity, their
union over the rounds, and a ranking by one who knows what is popular and every option of client/privacy.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from flwr.app import Context, Message, MessageType
from torch import Tensor
from torch.nn import functional as F

from common import wire
from common.data import Dataset, split
from common.updates import DeviceUpdates
from emulation.embedded import Embedded, overheard
from server.constraints.panel import PULLED
from server.records.report import Evaluation, RoundReport
from server.round.popularity import marks
from server.round.state import ServerState

FILE = "guesses.json"


def alone(updates: DeviceUpdates) -> Tensor:
    """Rows above half of the largest, against the mean direction of the others: bool [n, K]."""
    norms = updates.row_norms  # [n, K]
    strong = norms > 0.5 * norms.amax(1, keepdim=True)  # [n, K]
    away = ((~strong).float()[:, None] @ updates.rows)[:, 0]  # [n, d]
    return strong & ((updates.rows @ away[:, :, None])[:, :, 0] < 0)


def leaning(updates: DeviceUpdates) -> Tensor:
    """How far each row goes against the way of most: float32 [n, K], of unit mean square a device.

    The way of most is the mean of all rows of the round, each of length 1: rows of no next item are the many.
    No length of a single row is trusted, and noise and signs average out over devices, rows and rounds.
    """
    most = F.normalize(F.normalize(updates.rows, dim=2).mean((0, 1)), dim=0)  # [d]
    along = -(updates.rows @ most)  # [n, K]
    found: Tensor = F.normalize(along, dim=1) * along.shape[1] ** 0.5
    return found


@dataclass
class Score:
    """Sums over guesses: items guessed, guessed rightly, there to be found, and asked about."""

    guessed: int = 0
    right: int = 0
    held: int = 0
    asked: int = 0

    def add(self, guess: Tensor, truth: Tensor) -> None:
        """guess, truth bool [n, K]."""
        self.guessed += int(guess.sum())
        self.right += int((guess & truth).sum())
        self.held += int(truth.sum())
        self.asked += truth.numel()

    def told(self) -> dict[str, float | None]:
        """Precision (None without a guess), recall, base rate: the precision of guessing blindly."""
        return {
            "precision": self.right / self.guessed if self.guessed else None,
            "recall": self.right / max(self.held, 1),
            "base": self.held / max(self.asked, 1),
        }


@dataclass
class Guesses:
    """What was guessed so far; truth bool [D, N + 1] says which device holds which item."""

    truth: Tensor
    single: dict[str, Score] = field(default_factory=lambda: {"alone": Score(), "marks": Score()})

    def __post_init__(self) -> None:
        self.union = torch.zeros_like(self.truth)
        self.total = torch.zeros(self.truth.shape)
        self.met = torch.zeros(len(self.truth), dtype=torch.bool)

    def round(self, updates: DeviceUpdates, place: Tensor) -> None:
        """One round of devices at ``place`` int64 [n] of ``truth``."""
        where = (place[:, None], updates.items.long()[None])
        held = self.truth[where]  # [n, K]
        marked = marks(updates) == PULLED
        self.single["alone"].add(alone(updates), held)
        self.single["marks"].add(marked, held)
        self.union[where] |= marked
        lean = leaning(updates)
        self.total[where] += lean * lean.pow(3).mean().clamp(0, 1)
        self.met[place] = True

    def ranked(self) -> Tensor:
        """The h items with the largest log odds of popularity + leanings of the user's rounds.

        h is the length of the history, which enrolment tells. A leaning counts by its cube's mean over the
        round, at most 1: about 0 where noise hides the few rows far out, so that popularity is left.
        """
        return self._first(self._popularity().logit() + self.total)

    def popular(self) -> Tensor:
        """The h items that most devices hold: what to guess of a stranger."""
        return self._first(self._popularity().expand(self.truth.shape))

    def _popularity(self) -> Tensor:
        """The share of devices that hold each item, as if two more were asked: [N + 1], within (0, 1)."""
        return (self.truth.sum(0) + 1) / (len(self.truth) + 2)

    def _first(self, score: Tensor) -> Tensor:
        rank = score.argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # [D, N + 1]
        return rank < self.truth.sum(1, keepdim=True)

    def told(self) -> dict[str, dict[str, float | None]]:
        """Scores by guess; those over the rounds are of the devices that took part, whole histories."""
        met = self.met  # [D]
        found = {name: score.told() for name, score in self.single.items()}
        whole = {"union": self.union, "ranked": self.ranked(), "popular": self.popular()}
        for name, guess in whole.items():
            score = Score()
            score.add(guess[met, 1:], self.truth[met, 1:])
            share = (guess & self.truth)[met].sum(1) / self.truth[met].sum(1).clamp(min=1)
            found[name] = score.told() | {"median": float(share.median()) if len(share) else None}
        return found


class Watcher(Embedded):
    """The app of an emulation, and a listener: guesses from each reply as it goes over the wire.

    Writes ``folder``/guesses.json when the test split is evaluated, before the run's own summary.
    """

    def __init__(self, dataset: Dataset, folder: Path, deadline_s: float) -> None:
        super().__init__(deadline_s, omniscient=False)
        self.folder = folder
        self._place = {int(number): k for k, number in enumerate(dataset.devices)}
        truth = torch.zeros(len(dataset), dataset.num_items + 1, dtype=torch.bool)
        for k, sequence in enumerate(dataset.sequences):
            truth[k, torch.from_numpy(split(sequence).train).long()] = True
        self.guesses = Guesses(truth)

    def __call__(self, message: Message, context: Context) -> Message:
        reply = super().__call__(message, context)
        if message.metadata.message_type == MessageType.TRAIN and reply.has_content():
            updates = overheard(wire.decode_train_task(message.content), reply)
            busy = (updates.rows != 0).any(2).any(1)  # the others have no next item in the slice
            updates = updates.take(busy.nonzero().squeeze(1))
            self.guesses.round(updates, torch.tensor([self._place[int(n)] for n in updates.device]))
        return reply

    def on_round(self, report: RoundReport, state: ServerState) -> None:
        """Nothing: a round was seen when its replies were."""

    def on_evaluation(self, evaluation: Evaluation) -> None:
        if evaluation.split == "test":
            (self.folder / FILE).write_text(json.dumps(self.guesses.told(), indent=2), encoding="utf-8")
