"""What admission lets in, what it refuses and what it writes down."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from flwr.app import RecordDict

from common.updates import DeviceUpdates
from common.wire import Reason, UpdateSpec, decode_updates, encode_updates
from server.round.admission import Admitted, AuditEntry, Reply, admit
from tests.common.wire import samples

RUN, ROUND, P, K, D, ITEMS = "run", 5, 4, 6, 3, 30
SLICE = torch.tensor([1, 4, 9, 16, 25, 30], dtype=torch.int32)


def spec(**changes: Any) -> UpdateSpec:
    none = torch.tensor([], dtype=torch.int64)
    return replace(UpdateSpec(RUN, ROUND, P, D, SLICE, ITEMS, none), **changes)


def honest(devices: list[int], seed: int = 0) -> DeviceUpdates:
    g = torch.Generator().manual_seed(seed)
    n = len(devices)
    return DeviceUpdates(
        encoder=torch.randn(n, P, generator=g),
        rows=torch.randn(n, K, D, generator=g),
        items=SLICE,
        history=torch.full((n,), 10, dtype=torch.int32),
        device=torch.tensor(devices, dtype=torch.int64),
    )


def reply(node: int, updates: DeviceUpdates, asked: list[int] | None = None, round_: int = ROUND) -> Reply:
    numbers = updates.device if asked is None else torch.tensor(asked)
    return Reply(node, numbers, encode_updates(updates, RUN, round_, "float32"))


def run(*replies: Reply, max_history: int = 50, **changes: Any) -> Admitted:
    return admit(replies, spec(**changes), max_history)


def verdicts(result: Admitted) -> list[tuple[int, int | None, str, str]]:
    return [(e.node, e.device, e.verdict, e.reason) for e in result.audit]


def refusals(result: Admitted) -> list[tuple[int, int | None, str]]:
    return [(n, d, reason) for n, d, verdict, reason in verdicts(result) if verdict == "refused"]


def test_honest_devices_are_admitted_in_a_fixed_order() -> None:
    first, second = honest([7, 2]), honest([2, 5], seed=1)
    result = run(reply(9, first), reply(3, second))
    assert result.identity == ((3, 2), (9, 2), (3, 5), (9, 7))
    assert result.updates is not None
    expected = torch.stack([second.rows[0], first.rows[1], second.rows[1], first.rows[0]])
    assert torch.equal(result.updates.rows, expected)
    assert result.updates.device.tolist() == [2, 2, 5, 7]
    assert {e.verdict for e in result.audit} == {"admitted"}
    assert len(result.audit) == 4


def test_the_order_of_arrival_changes_nothing() -> None:
    bad = honest([4], seed=3)
    bad.rows[0] = float("nan")
    replies = [
        reply(1, honest([3, 1])),
        reply(2, honest([2], seed=1)),
        reply(2, bad),
        Reply(5, torch.tensor([8]), None, "gone"),
        reply(4, honest([6], seed=2), round_=4),
    ]
    results = [run(*order) for order in permutations(replies)]
    first = results[0]
    assert first.updates is not None
    for other in results[1:]:
        assert other.updates is not None
        assert other.identity == first.identity
        assert other.audit == first.audit
        assert torch.equal(other.updates.rows, first.updates.rows)


def poison(change: Callable[[DeviceUpdates], None]) -> Admitted:
    """Node 1 has four honest devices and one, number 3, that ``change`` spoils; node 2 is honest."""
    updates = honest([1, 2, 3, 4, 5])
    change(updates)
    return run(reply(1, updates), reply(2, honest([1, 2], seed=1)))


def fill(name: str, value: float) -> Callable[[DeviceUpdates], None]:
    def change(updates: DeviceUpdates) -> None:
        getattr(updates, name)[2] = value

    return change


def only_one_row(updates: DeviceUpdates) -> None:
    updates.rows[2, 1:] = 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (fill("rows", float("nan")), "not_finite"),
        (fill("encoder", float("-inf")), "not_finite"),
        (fill("rows", 3e38), "norm"),
        (fill("encoder", 1.9e19), "norm"),
        (fill("history", -7), "range"),
        (fill("rows", 0.0), "coverage"),
        (only_one_row, "coverage"),
    ],
)
def test_one_bad_device_costs_only_itself(change: Callable[[DeviceUpdates], None], reason: str) -> None:
    result = poison(change)
    assert refusals(result) == [(1, 3, reason)]
    assert (1, 3) not in result.identity
    assert len(result.identity) == 6
    assert result.updates is not None
    assert bool(result.updates.rows.isfinite().all())


def test_large_but_usable_norms_pass() -> None:
    assert len(poison(fill("encoder", 4e11)).identity) == 7


def test_half_of_the_median_coverage_is_enough() -> None:
    def change(updates: DeviceUpdates) -> None:
        updates.rows[2, : K // 2] = 0

    assert refusals(poison(change)) == []


def test_where_nobody_covers_rows_nobody_is_refused_for_it() -> None:
    updates = honest([1, 2])
    updates.rows.zero_()
    assert len(run(reply(1, updates)).identity) == 2


def test_a_client_that_sends_1e9_examples_is_clipped_and_visible() -> None:
    result = poison(fill("history", 1_000_000_000))
    assert result.updates is not None
    assert int(result.updates.history[result.identity.index((1, 3))]) == 50
    (entry,) = [e for e in result.audit if e.verdict == "clipped"]
    assert (entry.node, entry.device, entry.reason) == (1, 3, "history")
    assert "1000000000" in entry.detail
    assert "50" in entry.detail


def test_no_history_counts_as_one() -> None:
    result = poison(fill("history", 0))
    assert result.updates is not None
    assert int(result.updates.history.min()) == 1
    assert (1, 3, "clipped", "history") in verdicts(result)


def test_a_stale_round_and_a_lost_reply_cost_their_nodes_only() -> None:
    late = reply(2, honest([1]), round_=ROUND - 1)
    lost = Reply(3, torch.tensor([1]), None)
    broken = Reply(4, torch.tensor([1]), None, "CUDA\x1b[31m out of memory " + "x" * 10_000)
    result = run(reply(1, honest([1])), late, lost, broken)
    assert refusals(result) == [(2, None, "stale"), (3, None, "failed"), (4, None, "failed")]
    assert result.identity == ((1, 1),)
    assert all(len(e.detail) < 500 and e.detail.isprintable() for e in result.audit)


def test_a_device_that_was_not_asked_costs_the_reply() -> None:
    result = run(reply(1, honest([1])), reply(2, honest([1, 99]), asked=[1, 2]))
    assert refusals(result) == [(2, None, "unknown_device")]


def test_silent_devices_are_noted() -> None:
    result = run(reply(1, honest([2]), asked=[1, 2, 3]))
    assert verdicts(result) == [(1, None, "refused", "missing"), (1, 2, "admitted", "")]
    assert result.audit[0].detail == "2 of 3 devices sent nothing"


def test_a_copy_of_a_reply_counts_once() -> None:
    result = run(reply(1, honest([1, 2])), reply(1, honest([1, 2])))
    assert result.identity == ((1, 1), (1, 2))
    assert refusals(result) == [(1, None, "duplicate")]


def test_different_answers_to_one_request_cancel_each_other() -> None:
    result = run(reply(1, honest([1, 2])), reply(1, honest([2], seed=9)), reply(2, honest([1])))
    assert result.identity == ((2, 1),)
    assert refusals(result) == [(1, None, "duplicate")] * 2


def test_a_fleet_may_answer_in_parts() -> None:
    result = run(reply(1, honest([4, 2])), reply(1, honest([3, 1])))
    assert [device for _, device in result.identity] == [1, 2, 3, 4]


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_replies_that_are_consumed_are_empty_and_judged_alike(parts: int) -> None:
    """Also one that is refused, and one that does not decode; without it all stay as they were."""
    devices = [[1, 5], [2], [9, 3]][:parts]
    replies = [reply(7, honest(some, seed=k)) for k, some in enumerate(devices)]
    replies.append(reply(8, honest([4]), round_=ROUND - 1))
    plain = run(*replies)
    assert all(one.content for one in replies)
    consumed = admit(replies, spec(), 50, consume=True)
    assert not any(one.content for one in replies)
    assert list(consumed.audit) == list(plain.audit)
    assert consumed.identity == plain.identity
    assert plain.updates is not None
    assert consumed.updates is not None
    assert torch.equal(consumed.updates.rows, plain.updates.rows)


def test_no_replies_at_all() -> None:
    for result in (run(), run(Reply(1, torch.tensor([1]), None)), run(reply(1, honest([]), asked=[]))):
        assert result.updates is None
        assert result.identity == ()


def test_not_even_a_fault_of_the_decoder_ends_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(record: RecordDict, expect: UpdateSpec, *rest: Any) -> DeviceUpdates:
        if int(expect.devices[0]) == 1:
            raise RecursionError
        return decode_updates(record, expect, *rest)

    monkeypatch.setattr("server.round.admission.decode_updates", faulty)
    result = run(reply(1, honest([1])), reply(2, honest([2])))
    assert result.identity == ((2, 2),)
    assert refusals(result) == [(1, None, "failed")]


def own_rows(items: list[int], devices: list[int]) -> DeviceUpdates:
    base = honest(devices)
    touched = torch.ones(len(devices), len(items), dtype=torch.bool)
    return replace(
        base,
        items=torch.tensor(items, dtype=torch.int32),
        rows=base.rows[:, : len(items)].clone(),
        touched=touched,
    )


def test_own_negatives_join_over_the_union_of_touched_rows() -> None:
    a, b = own_rows([2, 5, 8], [1]), own_rows([3, 5], [1, 2])
    assert a.touched is not None
    a.touched[0, 2] = False
    a.rows[0, 2] = 0
    result = run(reply(1, a), reply(2, b), negatives="device")
    assert result.updates is not None
    assert result.updates.items.tolist() == [2, 3, 5]
    assert result.updates.touched is not None
    assert result.updates.touched.tolist() == [[True, False, True], [False, True, True], [False, True, True]]
    assert refusals(result) == []


def test_rows_outside_the_mask_are_refused() -> None:
    a = own_rows([2, 5], [1, 2])
    assert a.touched is not None
    a.touched[0, 1] = False
    result = run(reply(1, a), negatives="device")
    assert refusals(result) == [(1, 1, "unexpected")]
    assert result.identity == ((1, 2),)


def test_a_device_that_touched_no_row_is_idle_and_a_round_of_them_is_none() -> None:
    good = samples.updates("device")
    assert good.touched is not None
    bare = replace(good, rows=torch.zeros_like(good.rows), touched=torch.zeros_like(good.touched))
    result = admit(
        [Reply(1, good.device, encode_updates(bare, samples.RUN, samples.ROUND))], samples.spec("device"), 50
    )
    assert result.updates is None
    assert {entry.reason for entry in result.audit} == {"idle"}


def test_few_rows_are_normal_with_own_negatives() -> None:
    result = run(reply(1, own_rows([2], [1])), reply(2, own_rows([3, 4, 5, 6], [1])), negatives="device")
    assert refusals(result) == []


def test_an_audit_line_is_json() -> None:
    entry = AuditEntry(3, 2**63, None, "refused", Reason.STALE.value, "late")
    expected = {
        "round": 3,
        "node": 2**63,
        "device": None,
        "verdict": "refused",
        "reason": "stale",
        "detail": "late",
    }
    assert json.loads(json.dumps(entry.to_json())) == expected
