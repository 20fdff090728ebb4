"""Send one round's messages and collect the replies until a deadline."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from flwr.app import DEFAULT_TTL, Message
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from common.wire.replies import Replies
from transport.grpc_pull import puller
from transport.messages import AppFailed, failure

_LOG = logging.getLogger(__name__)
PUSH_TRIES = 3
PULL_TRIES = 6
CLOCK_SKEW_S = 60.0
SMALL_REPLY_BYTES = 1 << 24
"""Enough for the enrolment of a million devices: what a reply may hold if the caller expects no more."""

Pull = Callable[[list[str]], Iterable[Message]]


def exchange(
    grid: Grid,
    messages: Sequence[Message],
    deadline_s: float,
    poll: tuple[float, float] = (0.01, 0.2),
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    max_reply_bytes: int | Mapping[int, int] = SMALL_REPLY_BYTES,
    close_at: float = 1.0,
    unreliable: Collection[int] = (),
    grace_s: float = 0.0,
) -> Replies:
    """Push the messages and return what came back within ``deadline_s`` seconds.

    At most one reply a message, in the order of the messages; stragglers are left out; a reply that
    carries an error is returned as it is, and a reply that cannot be read (undecodable, larger than
    ``max_reply_bytes`` of its node, from the wrong sender) becomes an error reply. Waits between two looks
    double from ``poll[0]`` to ``poll[1]`` seconds while nothing comes. Failures of the grid are retried a
    bounded number of times and never raised.
    A grid over HTTP is refused with ConfigError before anything is sent.

    ``close_at``: once this share of the messages (0 to 1) has a reply with content, nobody is waited for.
    ``unreliable``: nodes that are waited for, once all others have answered, only as long again as that took,
    and ``grace_s`` seconds at least.

    Messages that were left at Flower's time to live of 12 h get the deadline plus a minute (devices'
    clocks may be wrong), so that a node that comes back late does not work through old rounds.
    """
    began = clock()
    end = began + deadline_s
    for message in messages:
        if message.metadata.ttl >= DEFAULT_TTL:
            message.metadata.ttl = deadline_s + CLOCK_SKEW_S
    pull = puller(grid, max_reply_bytes, lambda: end - clock())
    sent = _push(grid, messages, poll[1], clock, sleep, end)
    place = {id(message): number for number, message in enumerate(messages)}
    needed = {i for i, m in sent.items() if m.metadata.dst_node_id not in unreliable}
    stop = math.inf
    replies: dict[str, Message] = {}
    last = clock()
    troubles: dict[str, int] = {}
    wait = poll[0]
    while True:
        pending = [i for i in sent if i not in replies]
        fresh, failed = _pull(pull, pending)
        for number in failed:
            troubles[number] = troubles.get(number, 0) + 1
            if troubles[number] >= PULL_TRIES:
                fresh.append(failure(sent[number], "the reply cannot be pulled", ErrorCode.UNKNOWN))
        for reply in fresh:
            _accept(reply, sent, replies)
        now = clock()
        last = now if fresh else last
        if stop == math.inf and needed and needed <= replies.keys():
            stop = now + max(grace_s, now - began)
        if len(replies) == len(sent) or now >= min(stop, end) or _enough(replies, close_at * len(sent)):
            missing = [m.metadata.dst_node_id for i, m in sent.items() if i not in replies]
            found = [replies[i] for i in sent if i in replies]
            requests = [place[id(m)] for i, m in sent.items() if i in replies]
            if now >= end:
                return Replies(found, held=dict.fromkeys(missing, now - last), requests=requests)
            return Replies(found, early=missing, requests=requests)
        left = min(stop, end) - now
        if failed:  # an outage takes longer than a training step to pass
            wait = poll[1] * 2.0 ** max(troubles[i] for i in failed)
        else:
            wait = poll[0] if fresh else min(2 * wait, poll[1])
        sleep(min(wait, left))


def _enough(replies: Mapping[str, Message], wanted: float) -> bool:
    """Errors do not count: they cost nothing to send, and would close the round on the others."""
    return sum(reply.has_content() for reply in replies.values()) >= wanted


def _push(
    grid: Grid,
    messages: Sequence[Message],
    pause: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    end: float,
) -> dict[str, Message]:
    """Message id -> message for all that the grid took; in one batch if it can, else one by one."""
    if not messages:
        return {}
    batch = _try_push(grid, messages)
    if batch is not None and len(batch) == len(messages):
        return {i: m for i, m in zip(batch, messages, strict=True) if i}
    sent: dict[str, Message] = {}
    for message in messages:
        for attempt in range(PUSH_TRIES):
            ids = _try_push(grid, [message])  # pushing again is safe: the id is a hash of the message
            if ids is not None:
                sent.update((i, message) for i in ids[:1] if i)
                break
            if clock() >= end:
                return sent
            sleep(pause * 2**attempt)
    return sent


def _try_push(grid: Grid, messages: Sequence[Message]) -> list[str] | None:
    try:
        return list(grid.push_messages(list(messages)))
    except Exception:
        _LOG.warning("pushing %d messages failed", len(messages), exc_info=True)
        return None


def _pull(pull: Pull, ids: list[str]) -> tuple[list[Message], list[str]]:
    """Replies, and the ids for which the grid raises even when they are asked for alone."""
    if not ids:
        return [], []
    try:
        return list(pull(ids)), []
    except AppFailed:
        raise
    except Exception:
        _LOG.warning("pulling %d replies failed; asking for them one by one", len(ids), exc_info=True)
    fresh: list[Message] = []
    failed: list[str] = []
    for number in ids:
        try:
            fresh += pull([number])
        except Exception:
            failed.append(number)
    return fresh, failed


def _accept(
    reply: Message,
    sent: dict[str, Message],
    replies: dict[str, Message],
) -> None:
    number = reply.metadata.reply_to_message_id
    if number not in sent or number in replies:
        _LOG.warning("dropped a reply to an unknown or already answered message")
        return
    message = sent[number]
    if reply.has_content() and reply.metadata.src_node_id != message.metadata.dst_node_id:
        reply = failure(message, f"the reply names node {reply.metadata.src_node_id} as its sender")
    replies[number] = reply
