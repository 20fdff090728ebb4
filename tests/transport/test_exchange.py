"""The round's messages go out, what comes back in time is returned, whatever the grid does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from flwr.app import DEFAULT_TTL, ConfigRecord, Context, Error, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from emulation.local_grid import LocalGrid
from transport.exchange import PULL_TRIES, PUSH_TRIES, Replies, exchange

NEVER = float("inf")


class FakeTime:
    def __init__(self) -> None:
        self.now, self.naps = 100.0, list[float]()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.naps.append(seconds)
        self.now += seconds


def echo(message: Message, context: Context) -> Message:
    return Message(RecordDict({"c": ConfigRecord({"node": context.node_id})}), reply_to=message)


class FakeGrid(LocalGrid):
    """Node i answers after ``delays[i - 1]`` seconds; pushes and pulls can be made to fail."""

    def __init__(self, time: FakeTime, delays: Iterable[float]) -> None:
        self.delays = list(delays)
        super().__init__(echo, [{}] * len(self.delays))
        self.time, self.due = time, dict[str, float]()
        self.push_failures, self.pull_failures, self.short = 0, 0, False
        self.poison = set[int]()
        self.pulls = list[int]()
        self.pushed = list[int]()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        messages = list(messages)
        self.pushed.append(len(messages))
        if self.push_failures > 0:
            self.push_failures -= 1
            raise ConnectionError("push")
        if self.short and len(messages) > 1:
            return []  # what Flower does beyond 2 GB
        ids = super().push_messages(messages)
        for number, message in zip(ids, messages, strict=True):
            self.due[number] = self.time.now + self.delays[message.metadata.dst_node_id - 1]
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        asked = list(message_ids)
        self.pulls.append(len(asked))
        if self.pull_failures > 0:
            self.pull_failures -= 1
            raise ConnectionError("pull")
        ready = [i for i in asked if i in self._waiting and self.due[i] <= self.time.now]
        if any(self._waiting[i].metadata.dst_node_id in self.poison for i in ready):
            raise ValueError("undecodable")
        return super().pull_messages(ready)


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


def ask(grid: FakeGrid, deadline: float = 10.0, **options: object) -> list[int]:
    replies = exchange(grid, tasks(grid), deadline, clock=grid.time.clock, sleep=grid.time.sleep, **options)  # type: ignore[arg-type]
    return [r.metadata.src_node_id for r in replies if r.has_content()]


def tasks(grid: FakeGrid, order: Iterable[int] | None = None) -> list[Message]:
    return [Message(RecordDict(), node, "train") for node in order or grid.get_node_ids()]


def test_replies_come_in_the_order_of_the_messages(time: FakeTime) -> None:
    grid = FakeGrid(time, [3, 1, 2])
    replies = exchange(grid, tasks(grid, [3, 1, 2]), 10, clock=time.clock, sleep=time.sleep)
    assert [r.metadata.src_node_id for r in replies] == [3, 1, 2]


def test_it_returns_as_soon_as_all_are_there(time: FakeTime) -> None:
    assert ask(FakeGrid(time, [0, 1])) == [1, 2]
    assert 101 <= time.now < 101.5


def test_stragglers_are_left_out_at_the_deadline(time: FakeTime) -> None:
    assert ask(FakeGrid(time, [1, NEVER, 9.9])) == [1, 3]
    assert time.now == pytest.approx(110)


def test_a_reply_that_comes_with_the_deadline_counts(time: FakeTime) -> None:
    assert ask(FakeGrid(time, [10.0, 10.5])) == [1]


def test_waits_grow_while_nothing_comes_and_shrink_when_something_does(time: FakeTime) -> None:
    ask(FakeGrid(time, [1.0, NEVER]), deadline=3.0)
    assert time.naps[:6] == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.2, 0.2])
    assert max(time.naps) == pytest.approx(0.2)
    assert 0.01 in time.naps


def test_the_grid_is_only_asked_for_what_is_missing(time: FakeTime) -> None:
    grid = FakeGrid(time, [0, 0, 1])
    ask(grid)
    assert grid.pulls[0] == 3
    assert set(grid.pulls[1:]) == {1}


def test_errors_are_returned_as_they_are(time: FakeTime) -> None:
    grid = FakeGrid(time, [0])
    grid._app = lambda message, _: Message(Error(77, "mine"), reply_to=message)
    (reply,) = exchange(grid, tasks(grid), 1, clock=time.clock, sleep=time.sleep)
    assert (reply.error.code, reply.error.reason) == (77, "mine")


def test_no_messages_and_no_time(time: FakeTime) -> None:
    grid = FakeGrid(time, [0])
    assert exchange(grid, [], 5, clock=time.clock, sleep=time.sleep) == []
    assert ask(grid, deadline=0.0) == [1]
    assert time.naps == []


@pytest.mark.parametrize("failures", [1, PUSH_TRIES])
def test_a_push_that_fails_is_tried_again(time: FakeTime, failures: int) -> None:
    grid = FakeGrid(time, [0, 0])
    grid.push_failures = failures
    assert ask(grid) == [1, 2]


def test_a_push_that_never_works_is_given_up(time: FakeTime) -> None:
    grid = FakeGrid(time, [0, 0])
    grid.push_failures = 10**6
    assert ask(grid) == []
    assert grid.pushed == [2] + [1] * 2 * PUSH_TRIES
    assert time.now < 110


def test_a_batch_that_is_too_large_goes_out_one_by_one(time: FakeTime) -> None:
    grid = FakeGrid(time, [0, 0, 0])
    grid.short = True
    assert ask(grid) == [1, 2, 3]
    assert grid.pushed == [3, 1, 1, 1]


def test_a_message_the_grid_refuses_is_left_out(time: FakeTime, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = FakeGrid(time, [0, 0])
    push = grid.push_messages
    monkeypatch.setattr(grid, "push_messages", lambda messages: [push(messages)[0], ""])
    assert ask(grid) == [1]
    assert time.now == 100


def test_an_outage_while_pulling_loses_nothing(time: FakeTime) -> None:
    grid = FakeGrid(time, [0, 0, 0])
    grid.pull_failures = 4 * (PULL_TRIES - 1)
    assert ask(grid, deadline=60.0) == [1, 2, 3]
    assert time.now < 160


def test_one_poisoned_reply_costs_its_sender_alone(time: FakeTime) -> None:
    grid = FakeGrid(time, [0, 0, 1])
    grid.poison = {2}
    replies = exchange(grid, tasks(grid), 60, clock=time.clock, sleep=time.sleep)
    assert [r.has_error() for r in replies] == [False, True, False]
    assert time.now < 140  # the round does not wait for the deadline


def test_a_reply_in_the_name_of_another_node_is_an_error(time: FakeTime) -> None:
    grid = FakeGrid(time, [0, 0])

    def forge(message: Message, context: Context) -> Message:
        reply = echo(message, context)
        reply.metadata.__dict__["_src_node_id"] = 2
        return reply

    grid._app = forge
    replies = exchange(grid, tasks(grid), 1, clock=time.clock, sleep=time.sleep)
    assert [r.has_error() for r in replies] == [True, False]


def test_unasked_and_repeated_replies_are_dropped(time: FakeTime, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = FakeGrid(time, [0, 0])
    pull = grid.pull_messages
    stranger = Message(Error(1), reply_to=tasks(grid)[0])
    monkeypatch.setattr(grid, "pull_messages", lambda ids: [stranger, *2 * pull(ids)])
    assert ask(grid) == [1, 2]


def test_old_rounds_do_not_wait_for_a_node_that_comes_back(time: FakeTime) -> None:
    grid = FakeGrid(time, [0])
    default, chosen = tasks(grid, [1, 1])
    chosen.metadata.ttl = 7.0
    assert default.metadata.ttl == DEFAULT_TTL
    exchange(grid, [default, chosen], 30, clock=time.clock, sleep=time.sleep)
    assert default.metadata.ttl == 90.0
    assert chosen.metadata.ttl == 7.0


@given(
    delays=st.lists(st.floats(0, 20), min_size=1, max_size=6),
    push_failures=st.integers(0, 4),
    pull_failures=st.integers(0, 12),
    deadline=st.floats(0.0, 10),
)
def test_it_ends_in_time_in_order_and_without_repeats(
    delays: list[float], push_failures: int, pull_failures: int, deadline: float
) -> None:
    time = FakeTime()
    grid = FakeGrid(time, delays)
    grid.push_failures, grid.pull_failures = push_failures, pull_failures
    got = ask(grid, deadline=deadline)
    assert got == sorted(set(got))
    assert time.now <= 100 + deadline + 4 * 0.2 * 2**PUSH_TRIES  # a push may end late, waiting never does


def gathered(grid: FakeGrid, **options: Any) -> Replies:
    return exchange(grid, tasks(grid), 10, clock=grid.time.clock, sleep=grid.time.sleep, **options)


def test_it_says_how_long_it_waited_for_whom(time: FakeTime) -> None:
    found = gathered(FakeGrid(time, [2, NEVER, 4]))
    assert found.held == {2: pytest.approx(6.0, abs=0.3)}
    assert found.early == frozenset()


def test_a_round_may_close_at_a_share_of_the_replies(time: FakeTime) -> None:
    found = gathered(FakeGrid(time, [1, 2, 9, NEVER]), close_at=0.5)
    assert [r.metadata.src_node_id for r in found] == [1, 2]
    assert (found.held, found.early) == ({}, {3, 4})
    assert time.now < 103


def test_errors_do_not_close_a_round(time: FakeTime) -> None:
    grid = FakeGrid(time, [1, 1, 5, 6])
    usual = grid._app

    def app(message: Message, context: Context) -> Message:
        return usual(message, context) if context.node_id > 2 else Message(Error(2), reply_to=message)

    grid._app = app
    assert len(gathered(grid, close_at=0.5)) == 4


def test_an_unreliable_node_is_waited_for_as_long_again_as_the_others_took(time: FakeTime) -> None:
    found = gathered(FakeGrid(time, [2, NEVER, 4]), unreliable={2}, grace_s=1)
    assert time.now == pytest.approx(108, abs=0.4)
    assert (found.held, found.early) == ({}, {2})


def test_and_for_the_grace_at_least_and_the_deadline_at_most(time: FakeTime) -> None:
    assert len(gathered(FakeGrid(time, [1, 4, 1]), unreliable={2}, grace_s=5)) == 3
    began = time.now
    assert gathered(FakeGrid(time, [1, NEVER, 8]), unreliable={2}, grace_s=1).held == {
        2: pytest.approx(2, abs=0.4)
    }
    assert time.now == pytest.approx(began + 10)


def test_where_all_are_unreliable_the_deadline_holds(time: FakeTime) -> None:
    assert len(gathered(FakeGrid(time, [7, 8]), unreliable={1, 2}, grace_s=1)) == 2
