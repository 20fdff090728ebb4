"""What is wrong with a run, in words: rounds without updates, devices without work, a model that diverged."""

from __future__ import annotations

from collections import Counter
from logging import WARNING, getLogger

from common.config import StrategyConfig
from common.errors import RunError
from common.logs import event
from common.tasks import GlobalModel
from common.wire.reasons import Reason
from server.round.admission import Admitted

log = getLogger("flwr").log


def too_few(admitted: Admitted, least: int) -> str:
    """Why a round lacks updates: how many there are of ``least``, and the refusals by reason."""
    counts = Counter(e.reason for e in admitted.audit.entries if e.verdict == "refused")
    refused = ", ".join(f"{number} {reason}" for reason, number in counts.most_common())
    told = f"{len(admitted.identity)} updates, and strategy.min_replies is {least}"
    if idle := admitted.audit.count_of(Reason.IDLE):
        told += f"; idle: {idle}, with no next item in the slice"
    return f"{told}; refused: {refused}" if refused else told


class Warnings:
    """What is said of rounds as they end, for who watches the server; some of it once a run."""

    def __init__(self) -> None:
        self._given = set[str]()

    def lost(self, round_: int, why: str, error: Exception | None) -> None:
        """Of a round that changed nothing; what the rule raised without meaning to has its traceback once."""
        if error is not None:
            log(WARNING, "round %d: the rule failed", round_, exc_info=self._first("failed") and error)
        if why:
            log(WARNING, "round %d is skipped: %s", round_, why, extra=event("skipped", round_=round_))

    def idle(self, round_: int, idle: int, asked: int, drawn: int, num_items: int) -> None:
        """Once, where most devices that were asked have nothing to do: such a run learns little."""
        if idle <= asked / 2 or not self._first("idle"):
            return
        text = "round %d: %d of %d devices have no next item among the %d of %d items drawn; %s"
        remedy = "a larger train.slice_size, or auto, or more train.slices keep more of them busy"
        log(WARNING, text, round_, idle, asked, drawn, num_items, remedy, extra=event("idle", round_=round_))

    def _first(self, warning: str) -> bool:
        """Whether it was not given before."""
        new = warning not in self._given
        self._given.add(warning)
        return new


def check_finite(model: GlobalModel, strategy: StrategyConfig, round_: int) -> None:
    """Raise RunError once the squared norm of the model is not finite: no score is, after that."""
    flat = [part.reshape(-1) for part in (model.encoder, model.table)]
    if not all(bool(part.dot(part).isfinite()) for part in flat):
        raise RunError(
            f"the model is not finite after round {round_}: the run diverged; a smaller strategy.lr "
            f"({strategy.lr:g} now), or a robust strategy.aggregator ({strategy.aggregator.name} now), keeps "
            "it finite"
        )
