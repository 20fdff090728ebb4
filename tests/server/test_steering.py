"""A node that chooses its device numbers, leaves and comes back has its share of the draws and no more."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from flwr.app import Context, Message
from flwr.common.constant import ErrorCode

from client.app import app as client_app
from common.seeding import Key
from common.tasks import Enrolment
from common.wire import decode_train_task, encode_enrolment
from emulation.local_grid import LocalGrid
from server.round.state import server_key
from tests.server.federation import Watch, config, lines, node, run
from tests.server.steering import draws, steered
from transport.messages import failure

HONEST, DRAWN, ROUNDS, HELD = 8, 16, 60, 12
"""Eight honest nodes of 12 devices each and a ninth that lies; 16 of the 108 devices are drawn a round."""

LOG = f"devices={(HONEST + 1) * HELD},items=30,length=8"
SETTINGS = config(
    f"data.path='{LOG}'",
    "strategy.secret=''",
    f"train.rounds={ROUNDS}",
    f"train.devices_per_round={DRAWN}",
    "eval.every=0",
)
FAIR = DRAWN / (HONEST + 1)


class Liar(LocalGrid):
    """Node 9 lies. ``key``: what it believes the server draws from.

    renewed: it comes back under another identity in every round, else it keeps the one it has, says that it
    is gone whenever it does not gain, and enrols again with other numbers.
    """

    def __init__(self, key: Key, renewed: bool) -> None:
        logs = [{**node(f"{i}/{HONEST + 1}"), "path": LOG} for i in range(HONEST + 1)]
        super().__init__(self.answer, logs)
        self.key, self.renewed, self.round, self.asked = key, renewed, 0, list[int]()
        self.liar = HONEST + 1
        self.honest = sorted(d for d in range((HONEST + 1) * HELD) if d % (HONEST + 1) != HONEST)

    def get_node_ids(self) -> list[int]:
        if self.renewed and self.round:
            context = self._contexts.pop(self.liar)
            self.liar = context.node_id = 1000 + self.round
            self._contexts[self.liar] = context
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        found = list(messages)
        for message in found:
            if message.metadata.message_type == "train":
                self.round = int(message.metadata.group_id)
        return super().push_messages(found)

    def answer(self, message: Message, context: Context) -> Message:
        kind = message.metadata.message_type
        if context.node_id != self.liar or kind == "evaluate":
            return client_app(message, context)
        if kind == "query":
            numbers = torch.tensor(steered(self.key, self.round + 1, self.honest, HELD, DRAWN))
            enrolment = Enrolment(numbers, torch.full((HELD,), 9).int())
            return Message(encode_enrolment(enrolment), reply_to=message)
        count = len(decode_train_task(message.content).devices)
        self.asked.append(count)
        return failure(message, "gone", ErrorCode.MESSAGE_UNAVAILABLE)


@pytest.mark.no_cover  # hundreds of rounds, each of them covered elsewhere
@pytest.mark.parametrize("renewed", [False, True], ids=["one identity", "a new identity every round"])
@pytest.mark.parametrize("knows", [False, True], ids=["the seed", "the key itself"])
def test_choosing_numbers_brings_no_more_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renewed: bool, knows: bool
) -> None:
    key = server_key(SETTINGS)
    monkeypatch.setattr("server.round.pipeline.server_key", lambda config: key)
    grid, watch = Liar(key if knows else SETTINGS.seed, renewed), Watch()
    run(SETTINGS, tmp_path, grid=grid, listeners=[watch])
    assert len(watch.rounds) == ROUNDS
    share = sum(grid.asked) / ROUNDS
    # Four standard errors of a fair draw; a node that keeps saying that it is gone is asked less.
    assert share < FAIR + 4 * (FAIR / ROUNDS) ** 0.5
    if not renewed:
        refused = [e for e in lines(tmp_path, "audit") if e["node"] == grid.liar]
        assert {"failed", "unknown_device", "duplicate"} >= {e["reason"] for e in refused}
        assert not any("deadline" in e["detail"] for e in refused)  # its word is its own, not the grid's


def test_steering_works_where_numbers_may_be_chosen() -> None:
    """Else the test above shows nothing: who may choose its numbers is drawn with most of them."""
    honest, key = list(range(0, HONEST * HELD * 2, 2)), b"known" * 5
    shares = []
    for round_ in range(1, 40):
        own = steered(key, round_, honest, HELD, DRAWN)
        shares.append(draws(key, round_, honest, own, DRAWN) / DRAWN)
    assert sum(shares) / len(shares) > 3 * HELD / (len(honest) + HELD)
