"""What the fuzzer sends, and whom: every door through which a stranger's bytes enter the server or a node."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from hypothesis import strategies as st

from benchmarks.fuzz_replies import PulledReply, pulled_replies, take
from common import wire
from common.config import EvalConfig, RunConfig
from common.errors import WireError
from common.tasks import Enrolment
from common.wire.salt import salted
from emulation.local_grid import LocalGrid
from server.evaluation.collection import collect
from server.nodes.roster import Roster
from server.round.admission import Reply, admit
from tests.common.wire import samples
from tests.common.wire.mutations import Damage, damage, damages
from tests.common.wire.samples import ROUND, RUN

ITEM = {"float16": 2, "float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint8": 1}
ASKED = torch.arange(10, 14)
HISTORIES = torch.tensor([1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 9], dtype=torch.int32)
SPECS = {
    "small": {},
    "wide": {"num_items": 2**30, "num_parameters": 2**29},  # so that claims of gigabytes fit what is expected
}
CONFIG = RunConfig(eval=EvalConfig(targets=("#4", "#1")))


@dataclass(frozen=True)
class Target:
    """``run`` gets what ``inputs`` draw and says whether it was refused; ``sent``: bytes of such an input."""

    name: str
    inputs: st.SearchStrategy[Any]
    run: Callable[[Any], bool]
    sent: Callable[[Any], int]


class Strict(logging.Handler):
    """Formats every line and lets nothing through that could forge another line or move a cursor."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not text.isprintable():
            raise AssertionError(f"a log line with control characters: {ascii(text)[:200]}")
        if len(text) > 2000:
            raise AssertionError(f"a log line of {len(text)} characters")


@st.composite
def swollen(draw: st.DrawFn) -> Damage:
    """One array of up to 8 MiB: what it declares fits its bytes, so that checks of size let it pass."""
    dtype, size = draw(st.sampled_from(sorted(ITEM))), draw(st.sampled_from([2**12, 2**16, 2**20, 2**23]))
    pick, fill, rank = draw(st.integers(0, 9)), draw(st.sampled_from([0, 1, 0x7E])), draw(st.integers(1, 3))

    def apply(message: RecordDict) -> None:
        for held in message.values():
            if isinstance(held, ArrayRecord) and held:
                name = list(held)[pick % len(held)]
                shape = (size // ITEM[dtype], *[1] * (rank - 1))
                held[name] = Array(dtype, shape, "raw", salted(np.full(size, fill, np.uint8)))

    return apply


CHANGES = st.lists(damages() | damages() | swollen(), max_size=4)


def weight(message: RecordDict | None) -> int:
    """Bytes of a message: what its arrays hold and its texts."""
    total = 0
    for record in (message or {}).values():
        for value in record.values():
            if isinstance(value, Array):
                total += len(value.data) if isinstance(value.data, bytes) else 0
            elif isinstance(value, str | bytes):
                total += len(value)
    return total


def damaged(make: Callable[[], RecordDict]) -> st.SearchStrategy[RecordDict]:
    return CHANGES.map(lambda changes: damage(make(), changes))


def refused(decode: Callable[[RecordDict], object]) -> Callable[[RecordDict], bool]:
    """Decoding raises WireError or nothing; its text is short and printable."""

    def run(record: RecordDict) -> bool:
        try:
            decode(record)
        except WireError as error:
            wire.Reason(error.reason)
            text = str(error)
            if len(text) > 1000 or not text.isprintable():
                raise AssertionError(f"the refusal is not fit for a log: {ascii(text)[:200]}") from error
            return True
        return False

    return run


@st.composite
def updates(draw: st.DrawFn) -> tuple[RecordDict, wire.UpdateSpec]:
    negatives: samples.Negatives = draw(st.sampled_from(["full", "slice", "device"]))
    dtype: Literal["float16", "float32"] = draw(st.sampled_from(["float16", "float32"]))
    record = wire.encode_updates(samples.updates(negatives), RUN, ROUND, dtype)
    spec = samples.spec(negatives, **SPECS[draw(st.sampled_from(sorted(SPECS)))])
    return damage(record, draw(CHANGES)), spec


def run_updates(case: tuple[RecordDict, wire.UpdateSpec]) -> bool:
    record, spec = case
    return refused(lambda r: wire.decode_updates(r, spec))(record)


@st.composite
def rounds(draw: st.DrawFn) -> tuple[list[Reply], wire.UpdateSpec]:
    """A round of up to four replies, each damaged in its own way or not at all."""
    negatives: samples.Negatives = draw(st.sampled_from(["full", "slice", "device"]))
    replies = []
    for node in range(1, 1 + draw(st.integers(1, 4))):
        record = wire.encode_updates(samples.updates(negatives, seed=node), RUN, ROUND)
        replies.append(Reply(node, ASKED, damage(record, draw(CHANGES))))
    return replies, samples.spec(negatives)


def run_round(case: tuple[list[Reply], wire.UpdateSpec]) -> bool:
    """Admission is total, and what it admits is finite and accounted for."""
    replies, spec = case
    result = admit(replies, spec, max_history=50)
    told = {(e.node, e.device) for e in result.audit if e.verdict in ("admitted", "clipped")}
    assert told == set(result.identity)
    assert all(e.detail.isprintable() for e in result.audit)
    if result.updates is None:
        return True
    assert bool(result.updates.rows.isfinite().all() and result.updates.encoder.isfinite().all())
    assert 1 <= int(result.updates.history.min()) <= int(result.updates.history.max()) <= 50
    return len(result.identity) < len(replies) * samples.N


def run_enrolment(record: RecordDict) -> bool:
    """A raw reply to an enrolment, and what the roster makes of it in the next round."""
    small = refused(lambda r: wire.decode_enrolment(r, 3))(record)

    def app(message: Message, context: Context) -> Message:
        return Message(record, reply_to=message)

    roster = Roster()
    roster.refresh(LocalGrid(app, [{}]), 1, 1.0)
    roster.pool.sample(4, torch.Generator().manual_seed(0), 2)
    assert all(entry.detail.isprintable() for entry in roster.notices.take())
    assert list(roster.quartiles()) == sorted(roster.quartiles())
    return small


def run_sums(record: RecordDict) -> bool:
    """One damaged reply among two honest ones: the evaluation is there, and its numbers are numbers."""
    bad = refused(lambda r: wire.decode_evaluate_sums(r, samples.sums_spec()))(record)
    roster = Roster(nodes={n: Enrolment(torch.arange(12) + 12 * n, HISTORIES) for n in (1, 2, 3)})
    replies = []
    for node in roster.nodes:
        task = Message(RecordDict(), node, "evaluate")
        content = wire.encode_evaluate_sums(samples.sums(), RUN, ROUND)
        replies.append(Message(record if node == 2 else content, reply_to=task))
    result = collect(replies, CONFIG, RUN, ROUND, roster, "valid")
    found = getattr(result, "evaluation", result)
    assert found is not None
    assert all(0 <= v <= 1.001 for v in found.groups["all"].values())
    return bad


def _cost(case: tuple[Any, ...]) -> int:
    replies = case[0] if isinstance(case[0], list) else [Reply(0, ASKED, case[0])]
    return sum(weight(reply.content) for reply in replies)


def _pull(case: PulledReply) -> bool:
    """A claim of any objects ends as a reply or an error; a reply is then admitted or refused."""
    found = take(case)
    for message in found:
        if message.has_content():
            admit([Reply(11, ASKED, message.content)], samples.spec(), max_history=50)
    return not found or any(m.has_error() for m in found)


def _record(name: str, make: Callable[[], RecordDict], run: Callable[[RecordDict], bool]) -> Target:
    return Target(name, damaged(make), run, weight)


def _train() -> RecordDict:
    return wire.encode_train_task(samples.train_task())


def _evaluate() -> RecordDict:
    return wire.encode_evaluate_task(samples.evaluate_task())


def _sums() -> RecordDict:
    return wire.encode_evaluate_sums(samples.sums(), RUN, ROUND)


ALL = (
    Target("updates", updates(), run_updates, _cost),
    Target("admission", rounds(), run_round, _cost),
    _record("enrolment", lambda: wire.encode_enrolment(samples.enrolment()), run_enrolment),
    _record("evaluation", _sums, run_sums),
    _record("train task", _train, refused(wire.decode_train_task)),
    _record("evaluate task", _evaluate, refused(wire.decode_evaluate_task)),
    Target("pull", pulled_replies(), _pull, lambda case: case.size),
)
TARGETS: Mapping[str, Target] = {target.name: target for target in ALL}
__all__ = ["TARGETS", "Strict", "Target"]
