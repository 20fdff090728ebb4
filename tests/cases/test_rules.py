"""Case 03 and its kind: what a rule leaves out is left out, counted, and named; nothing else is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data import Dataset, load, ragged
from common.data.build import build
from common.errors import ConfigError, DataError
from common.preparation import Preparation, Reading
from common.settings import load as load_settings
from emulation.federation import federate, open_log
from server.records.protocol_line import protocol

Row = tuple[int, int, int]
ROWS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=40)


def built(rows: list[Row], prepare: Preparation) -> tuple[list[tuple[str, list[str]]], Reading]:
    reading = Reading()
    table = pl.DataFrame(
        [(f"u{u}", f"i{i}", float(t)) for u, i, t in rows], ["user", "item", "time"], orient="row"
    )
    try:
        log = build("x", table, prepare=prepare, reading=reading)
    except DataError:  # where nothing is left
        return [], reading
    return named(log), reading


def named(log: Dataset) -> list[tuple[str, list[str]]]:
    used = {int(i) for one in log.sequences for i in one}
    assert used == set(range(1, log.num_items + 1)), "every item of the catalogue is somebody's"
    return [
        (user, [log.item_ids[i - 1] for i in one])
        for user, one in zip(log.user_ids, log.sequences, strict=True)
    ]


def plain(rows: list[Row], prepare: Preparation) -> list[tuple[str, list[str]]]:
    """The same in plain Python."""
    rows = sorted(rows, key=lambda row: (row[0], row[2]))
    if prepare.duplicates == "drop":
        rows = list(dict.fromkeys(rows))
    if prepare.repeats == "drop":
        first = {(u, i): n for n, (u, i, _) in reversed(list(enumerate(rows)))}
        rows = [rows[n] for n in sorted(first.values())]
    while True:
        users, items = Counter(u for u, _, _ in rows), Counter(i for _, i, _ in rows)
        kept = [r for r in rows if users[r[0]] >= prepare.min_user and items[r[1]] >= prepare.min_item]
        if len(kept) == len(rows):
            break
        rows = kept
    return [(f"u{u}", [f"i{i}" for v, i, _ in rows if v == u]) for u in sorted({u for u, _, _ in rows})]


@settings(max_examples=60)
@given(
    ROWS,
    st.builds(
        Preparation,
        duplicates=st.sampled_from(["drop", "keep"]),
        repeats=st.sampled_from(["drop", "keep"]),
        min_user=st.integers(0, 4),
        min_item=st.integers(0, 4),
    ),
    st.integers(1, 9),
)
def test_rules_against_plain_python(rows: list[Row], prepare: Preparation, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ragged.Ragged.chunks, "__defaults__", (chunk,))
        found, reading = built(rows, prepare)
    assert found == plain(rows, prepare)
    assert reading.rows - sum(reading.dropped.values()) == sum(len(items) for _, items in found)


def doubled(lines: list[str], how: str) -> list[str]:
    """Every line again: at once, at the end, three times, with other digits, or with a note of its own."""
    return {
        "at once": [one for line in lines for one in (line, line)],
        "at the end": lines + lines,
        "three times": lines * 3,
        "backwards": lines + lines[::-1],
        "other digits": lines + [f"{line}.0" for line in lines],
    }[how]


@pytest.mark.parametrize("how", ["at once", "at the end", "three times", "backwards", "other digits"])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_doubled_log_is_the_log(
    tmp_path: Path, how: str, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(3)
    lines = [f"u{u},i{i},{t}" for u in range(9) for t, i in enumerate(rng.permutation(30)[:8])]
    logs = []
    for number, text in enumerate((lines, doubled(lines, how))):
        path = tmp_path / f"{how}-{number}.{ending}"
        path.write_text("\n".join(["user,item,time", *text]))
        logs.append(load("", str(path)))
    assert named(logs[0]) == named(logs[1])
    assert logs[1].reading.dropped == {"data.duplicates": logs[1].reading.rows - len(lines)}
    (warning,) = caplog.messages
    assert f"{logs[1].reading.rows - len(lines)} of {logs[1].reading.rows} lines dropped" in warning
    kept = load("", str(path), prepare=Preparation(duplicates="keep"))
    assert int(kept.sequences.lengths.sum()) == kept.reading.rows


SHOP = """visitorid,itemid,event,rating,timestamp
1,a,view,1,1
1,b,buy,5,2
1,c,view,,3
2,a,buy,4.5,1
2,b,cart,3.999,2
3,c,view,-1,9
"""


@pytest.mark.parametrize(
    ("prepare", "left", "dropped"),
    [
        (Preparation(events=("buy",)), [("1", ["b"]), ("2", ["a"])], {"data.events": 4}),
        (Preparation(events=("buy", "cart")), [("1", ["b"]), ("2", ["a", "b"])], {"data.events": 3}),
        (Preparation(min_rating=4), [("1", ["b"]), ("2", ["a"])], {"data.min_rating": 4}),
        (
            Preparation(min_rating=-1),
            [("1", ["a", "b"]), ("2", ["a", "b"]), ("3", ["c"])],
            {"data.min_rating": 1},
        ),
        (
            Preparation(events=("view",), min_rating=1),
            [("1", ["a"])],
            {"data.events": 3, "data.min_rating": 2},
        ),
        (
            Preparation(min_user=2, min_item=2),
            [("1", ["a", "b"]), ("2", ["a", "b"])],
            {"data.min_user": 1, "data.min_item": 1},
        ),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_events_and_ratings(
    tmp_path: Path, kind: str, prepare: Preparation, left: object, dropped: dict[str, int]
) -> None:
    table, path = pl.read_csv(SHOP.encode()), tmp_path / f"a.{kind}"
    {"csv": table.write_csv, "jsonl": table.write_ndjson, "parquet": table.write_parquet}[kind](path)
    log = load("", str(path), prepare=prepare)
    assert named(log) == left
    assert log.reading.dropped == dropped
    assert log.reading.rows == 6


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (Preparation(events=("purchase",)), "no event 'purchase' in the log; valid: view, buy, cart"),
        (Preparation(events=("veiw",)), "no event 'veiw' in the log: did you mean 'view'"),
        (Preparation(min_rating=6), r"no interaction of 6 is left; dropped: 6 by data\.min_rating"),
        (Preparation(min_user=4), r"no interaction of 6 is left; dropped: .* by data\.min_user"),
        (
            Preparation(min_rating=1, columns=(("rating", "event"),)),
            "line 2, column event: expected a number, found",
        ),
    ],
)
def test_rules_that_leave_nothing_are_refused(tmp_path: Path, prepare: Preparation, words: str) -> None:
    (tmp_path / "a.csv").write_text(SHOP)
    with pytest.raises(DataError, match=words):
        load("", str(tmp_path / "a.csv"), prepare=prepare)


@pytest.mark.parametrize(("name", "setting"), [("min_rating", 4.0), ("events", ("view",))])
def test_a_rule_needs_its_column(tmp_path: Path, name: str, setting: object) -> None:
    prepare = Preparation(**{name: setting})  # type: ignore[arg-type]
    (tmp_path / "a.csv").write_text("user,item,time\n1,a,1\n")
    with pytest.raises(DataError, match=rf"data\.{name} needs a column of .*name it with data\.columns\."):
        load("", str(tmp_path / "a.csv"), prepare=prepare)
    (tmp_path / "a.txt").write_text("1 a b c\n")
    with pytest.raises(DataError, match=rf"data\.{name}: a file with one line a user has items alone"):
        load("", str(tmp_path / "a.txt"), prepare=prepare)
    with pytest.raises(DataError, match=rf"data\.{name}: this log is prepared already"):
        load("synthetic", prepare=prepare)


def test_what_is_not_the_default_is_in_the_protocol() -> None:
    given = {
        "data.min_rating": "4",
        "data.events": "[view, buy]",
        "data.min_user": "5",
        "data.min_item": "3",
        "data.repeats": "drop",
        "data.duplicates": "keep",
        "data.order": "file",
    }
    line = protocol(load_settings(None, [f"{key}={value}" for key, value in given.items()]))
    for words in (
        "min_rating 4",
        "events view|buy",
        "min_user 5",
        "min_item 3",
        "repeats drop",
        "order file",
    ):
        assert words in line
    assert "log:" not in protocol(load_settings(None, ["data.columns.user=who", "data.encoding=cp1252"]))


@pytest.mark.parametrize(
    "setting",
    [
        "data.order=tme",
        "data.duplicates=dorp",
        "data.repeats=1",
        "data.min_user=-1",
        "data.encoding=utf-9",
        "data.mni_user=2",
    ],
)
def test_settings_that_cannot_be_are_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=setting.partition("=")[0]):
        load_settings(None, [setting])


def test_every_node_of_a_run_reads_the_log_by_its_rules(tmp_path: Path) -> None:
    """Another catalogue on a node would be refused: the run would train nobody."""
    rng = np.random.default_rng(0)
    seen = [(u, i, t) for u in range(20) for t, i in enumerate(rng.permutation(40)[:20])]
    rows = [f"u{u},{i},{rng.integers(1, 6)},{t}" for u, i, t in seen]
    (tmp_path / "log.csv").write_text("\n".join(["who,item,stars,time", *rows]))
    rules = ["data.columns.user=who", "data.min_rating=3", "data.min_item=5", "data.min_user=5"]
    small = ["train.rounds=1", "train.devices_per_round=16", "model.dim=8", "model.max_len=8", "eval.every=0"]
    attack = ["attack.name=sign_flip", "attack.share=0.2", "device=cpu"]
    config = load_settings(None, [f"data.path={tmp_path / 'log.csv'}", *rules, *small, *attack])
    summary = federate(config, tmp_path / "run")
    assert 0 < open_log(config).num_items < 40
    assert summary["evaluated_devices"] > 10
    assert "log: min_rating 3, min_user 5, min_item 5" in summary["protocol"]
    lines = [json.loads(line) for line in (tmp_path / "run" / "audit.jsonl").read_text().splitlines()]
    assert {line["node"] for line in lines if line["verdict"] == "admitted"} == {1, 2}
