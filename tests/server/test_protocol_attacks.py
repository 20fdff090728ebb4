"""Whatever a node sends, it is refused with its reason, and the model is that of a run without the node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from common.wire.salt import salted, unsalted
from server.records.report import RoundReport
from tests.server.federation import (
    DEVICES,
    NodeConfig,
    Watch,
    config,
    faulty,
    lines,
    node,
    refusals,
    run,
    same_model,
)

NODES: list[NodeConfig] = [
    node("honest", share=0.3, seed=0),
    node("malicious", share=0.3, seed=0, bad=True),
]
ROUNDS = 3
CONFIG = config(f"train.rounds={ROUNDS}", "eval.every=0")
Tamper = Callable[[dict[str, Array], dict[str, Any]], None]


def values(array: Array) -> Any:
    dtype = {"float32": "<f4", "int32": "<i4", "int64": "<i8"}[array.dtype]
    return unsalted(array.data, dtype).reshape(array.shape)


def packed(found: Any) -> Array:
    return Array(dtype=str(found.dtype), shape=found.shape, stype="raw", data=salted(found))


def put(name: str, change: Callable[[Any], Any]) -> Tamper:
    def tamper(arrays: dict[str, Array], meta: dict[str, Any]) -> None:
        arrays[name] = packed(np.ascontiguousarray(change(values(arrays[name]))))

    return tamper


def declare(name: str, **changes: Any) -> Tamper:
    def tamper(arrays: dict[str, Array], meta: dict[str, Any]) -> None:
        old = arrays[name]
        fields = {"dtype": old.dtype, "shape": old.shape, "stype": old.stype, "data": old.data, **changes}
        arrays[name] = Array(**fields)

    return tamper


def header(**changes: Any) -> Tamper:
    return lambda arrays, meta: meta.update(changes)


def at(index: Any, value: float) -> Callable[[Any], Any]:
    def change(found: Any) -> Any:
        found[index] = value
        return found

    return change


def repeat_first(found: Any) -> Any:
    found[1] = found[0]
    return found


def drop_rows(arrays: dict[str, Array], meta: dict[str, Any]) -> None:
    del arrays["rows"]


TAMPERS: dict[str, tuple[Tamper, str]] = {
    "NaN in the encoder": (put("encoder", at((slice(None), 0), np.nan)), "not_finite"),
    "infinity in the rows": (put("rows", at((slice(None), 0, 0), np.inf)), "not_finite"),
    "an overflowing norm": (put("rows", at((slice(None), 0, 0), 3e38)), "norm"),
    "a wrong number of parameters": (put("encoder", lambda v: v[:, :-1]), "shape"),
    "an array of shape (1,)": (put("encoder", lambda v: v[0, :1]), "shape"),
    "rows of shape (1,)": (put("rows", lambda v: v.ravel()[:1]), "shape"),
    "one device's values for all": (put("rows", lambda v: v[:1]), "shape"),
    "transposed rows": (put("rows", lambda v: v.transpose(0, 2, 1)), "shape"),
    "float64 rows": (put("rows", lambda v: v.astype(np.float64)), "dtype"),
    "negative examples": (put("history", at(slice(None), -5)), "range"),
    "more examples than an int32 holds": (put("history", lambda v: v.astype(np.int64) + 10**10), "dtype"),
    "the same row twice": (put("items", repeat_first), "duplicate"),
    "the same device twice": (put("device", repeat_first), "duplicate"),
    "an item out of range": (put("items", at(-1, 31)), "range"),
    "item 0, the padding": (put("items", at(0, 0)), "range"),
    "a negative item": (put("items", at(0, -1)), "range"),
    "items in disorder": (put("items", lambda v: v[::-1]), "order"),
    "another slice": (put("items", lambda v: np.arange(1, len(v) + 1, dtype=v.dtype)), "unexpected"),
    "a device that is not its own": (put("device", at(0, DEVICES + 100)), "unknown_device"),
    "a stale round": (lambda arrays, meta: meta.update(round=meta["round"] - 1), "stale"),
    "a round to come": (lambda arrays, meta: meta.update(round=meta["round"] + 1), "stale"),
    "a negative round": (header(round=-1), "range"),
    "another run": (header(run="other"), "foreign"),
    "another version": (header(version=99), "version"),
    "a true for a round": (header(round=True), "type"),
    "half the values said to be float16": (header(dtype="float16"), "missing"),
    "2 GB of zeros declared": (declare("rows", shape=(2**29,), data=b"\0"), "shape"),
    "the right shape and no bytes": (declare("rows", data=b""), "size"),
    "a shape that overflows": (declare("rows", shape=(2**62, 2**62, 4), data=b"\0"), "shape"),
    "a pickle": (declare("rows", stype="pickle"), "type"),
    "numpy's file format": (declare("rows", stype="numpy.ndarray"), "type"),
    "no rows": (drop_rows, "missing"),
    "only zeros but for one row": (put("rows", at((slice(None), slice(1, None)), 0)), "coverage"),
}


def tampered(tamper: Tamper) -> Callable[[Message, Message], Message]:
    def fault(task: Message, reply: Message) -> Message:
        arrays: dict[str, Any] = dict(reply.content["arrays"])
        meta: dict[str, Any] = dict(reply.content["meta"])
        tamper(arrays, meta)
        content = RecordDict({"meta": ConfigRecord(meta), "arrays": ArrayRecord(arrays)})
        return Message(content, reply_to=task)

    return fault


def whole(change: Callable[[RecordDict], RecordDict]) -> Callable[[Message, Message], Message]:
    return lambda task, reply: Message(change(reply.content), reply_to=task)


def no_message(task: Message, reply: Message) -> Message:
    return None  # type: ignore[return-value]


def crash(task: Message, reply: Message) -> Message:
    raise ZeroDivisionError("poison")


def with_examples(content: RecordDict) -> RecordDict:
    return RecordDict({**content, "metrics": MetricRecord({"num-examples": 10**9})})


FAULTS: dict[str, tuple[Callable[[Message, Message], Message], str]] = {
    **{name: (tampered(tamper), reason) for name, (tamper, reason) in TAMPERS.items()},
    "1e9 examples beside the arrays": (whole(with_examples), "unexpected"),
    "an empty message": (whole(lambda _: RecordDict()), "missing"),
    "only odd records": (whole(lambda _: RecordDict({"x": MetricRecord({"y": 1.0})})), "missing"),
    "records of the wrong kind": (
        whole(lambda c: RecordDict({"meta": c["arrays"], "arrays": c["meta"]})),
        "type",
    ),
    "the server's own task": (lambda task, reply: Message(task.content, reply_to=task), "missing"),
    "an exception": (crash, "failed"),
    "no message": (no_message, "failed"),
}


@pytest.fixture(scope="module")
def absent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in which the bad node's devices are never there: it answers with errors."""
    out = tmp_path_factory.mktemp("absent") / "run"
    run(CONFIG, out, NODES, app=faulty(crash))
    assert refusals(out) == {(r, "failed") for r in range(1, ROUNDS + 1)}
    return out


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_reply_costs_its_sender_only(absent: Path, tmp_path: Path, name: str) -> None:
    fault, reason = FAULTS[name]
    watch = Watch()
    run(CONFIG, tmp_path, NODES, app=faulty(fault), listeners=[watch])
    assert refusals(tmp_path) == {(r, reason) for r in range(1, ROUNDS + 1)}
    assert refusals(tmp_path, node_=1) == set()
    told = [line["detail"] for line in lines(tmp_path, "audit") if line["verdict"] == "refused"]
    assert all(told)
    assert [(r.round, r.skipped) for r in watch.rounds] == [(r, False) for r in range(1, ROUNDS + 1)]
    assert same_model(tmp_path, absent)


def test_the_bad_node_would_have_mattered(absent: Path, tmp_path: Path) -> None:
    run(CONFIG, tmp_path, NODES, app=faulty(lambda task, reply: reply))
    assert not same_model(tmp_path, absent)


def test_a_claim_of_1e9_examples_buys_nothing(tmp_path: Path) -> None:
    claims = {"honest": lambda task, reply: reply, "greedy": tampered(put("history", at(slice(None), 1e9)))}
    for name, fault in claims.items():
        run(CONFIG, tmp_path / name, NODES, app=faulty(fault))
    assert same_model(tmp_path / "honest", tmp_path / "greedy")
    cut = [line for line in lines(tmp_path / "greedy", "audit") if line["node"] == 2 and line["device"]]
    cut = [line for line in cut if line["reason"] != "idle"]
    assert {line["reason"] for line in cut} == {"history"}
    assert all("claims 1000000000 interactions, counted as 1000" in line["detail"] for line in cut)


def test_a_huge_finite_update_under_the_mean_does_not_end_the_run(tmp_path: Path) -> None:
    watch: Watch = Watch()
    fault = tampered(put("rows", lambda v: v + np.float32(1e17)))
    settings = config("strategy.optimizer=sgd", "strategy.lr=1", "strategy.warmup_rounds=0")
    run(settings, tmp_path, NODES, app=faulty(fault), listeners=[watch])
    assert [report.round for report in watch.rounds] == [1, 2, 3, 4]
    assert not any(isinstance(r, RoundReport) and r.skipped for r in watch.rounds[:1])
