"""The tables of a leaderboard: all rules, by log and share, by attack, and beside what papers report."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.leaderboard.cells import State
from experiments.leaderboard.columns import BY_ATTACK, PUBLISHED, WHERE, board_columns
from experiments.leaderboard.protocol import FIXED, Protocol
from experiments.leaderboard.standing import ALL, Groups, Places, Point, Standing, ranked, standing
from experiments.report.differences import beyond
from experiments.report.names import Condition, percent
from experiments.report.section import ER, NDCG, Metric, share_retained
from experiments.report.statistics import LEVEL, Estimate
from experiments.report.tables import Column, Table, Value
from experiments.shipped import EDITION


@dataclass(frozen=True)
class Measured:
    """Labels and states of the cells by key, the finished runs by log and model, and where from."""

    protocol: Protocol
    labels: Mapping[str, Mapping[str, Any]]
    states: Mapping[str, State]
    groups: Groups
    folder: str

    def select(self, **wanted: Any) -> list[str]:
        """Keys of the cells with these labels."""
        return [
            key
            for key, one in self.labels.items()
            if all(one[name] == value for name, value in wanted.items())
        ]

    def each(self, name: str) -> list[Any]:
        """Every value of a label, in the order of the protocol."""
        return list(dict.fromkeys(one[name] for one in self.labels.values()))


def standings(measured: Measured, scope: Mapping[str, Any]) -> list[Standing]:
    """The rules over the cells that have the labels of ``scope``, best first."""
    cells: dict[str, list[str]] = {}
    for key in measured.select(**scope):
        cells.setdefault(measured.labels[key]["aggregator"], []).append(key)
    where = tuple(
        percent(scope[name]) if name == "malicious_share" and name in scope else str(scope.get(name, ALL))
        for name in ("data", "model", "malicious_share")
    )
    assert len(where) == 3
    found = []
    for rule, keys in cells.items():
        points = _points(measured, keys)
        done = sum(measured.states[key] == "done" for key in keys)
        found.append(standing(rule, where, points, measured.each("seed"), done, len(keys)))
    return ranked(found)


def _points(measured: Measured, keys: Sequence[str]) -> list[Point]:
    """The conditions of these cells, each called by its attack and whatever else differs between them."""
    names = ("data", "model", "malicious_share")
    differing = [n for n in names if len({measured.labels[key][n] for key in keys}) > 1]
    found = {}
    for key in keys:
        one = measured.labels[key]
        condition = Condition(one["attack"], one["malicious_share"])
        parts = [percent(one[n]) if n == "malicious_share" else one[n] for n in differing]
        group = one["data"], one["model"]
        name = ", ".join([one["attack"], *parts])
        found[*group, condition] = Point(name, condition, measured.groups.get(group))
    return list(found.values())


def overall_table(measured: Measured) -> Table:
    """A row a rule, over all logs, models and shares."""
    note = (
        f"Worst and mean over all logs, shares and attacks. ± is half a {percent(LEVEL)} interval (t) over "
        "seeds. Rules in order of the worse of their two places; rules that share a place are not told apart "
        "by these seeds."
    )
    rows = [_row(measured, one, {}) for one in standings(measured, {})]
    columns, rows = _without(board_columns(), rows, [1, 2, 3])
    return Table("overall", "All logs and shares", "", columns, rows, note)


def scope_table(measured: Measured) -> Table:
    """A row a rule, log, model and share."""
    rows = []
    for data in measured.each("data"):
        for model in measured.each("model"):
            for share in measured.each("malicious_share"):
                scope = {"data": data, "model": model, "malicious_share": share}
                rows += [_row(measured, one, scope) for one in standings(measured, scope)]
    note = "Places are among the rules on the same log, model and share."
    return Table("scopes", "By log and share", "", board_columns(), rows, note)


def _row(measured: Measured, one: Standing, scope: Mapping[str, Any]) -> list[Value]:
    return [
        one.rule,
        *one.scope,
        *_range(one.places),
        *_range(one.exposure_places),
        *(one.worst or (None, "–")),
        one.mean,
        *(one.exposed or (None, "–")),
        one.exposed_mean,
        one.lost,
        one.clean,
        one.server_ms,
        one.seeds,
        one.done,
        one.cells - one.done,
        command(measured, {"aggregator": one.rule, **scope}),
    ]


def _range(places: Places | None) -> tuple[Value, Value]:
    return (places.first, places.last) if places else (None, None)


def _without(
    columns: Sequence[Column], rows: Sequence[Sequence[Value]], left_out: Sequence[int]
) -> tuple[list[Column], list[list[Value]]]:
    kept = [j for j in range(len(columns)) if j not in left_out]
    return [columns[j] for j in kept], [[row[j] for j in kept] for row in rows]


def attack_table(measured: Measured) -> Table:
    """A row a rule, log, model, share and attack, whatever is done of it."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    names = ("aggregator", "data", "model", "malicious_share", "attack")
    for key, one in measured.labels.items():
        groups.setdefault(tuple(one[name] for name in names), []).append(key)
    rows: list[list[Value]] = []
    for group, keys in groups.items():
        rule, data, model, share, attack = group
        condition = Condition(attack, share)
        point = Point(attack, condition, measured.groups.get((data, model)))
        promotes = condition.targeted and condition.kind not in FIXED
        done = sum(measured.states[key] == "done" for key in keys)
        rows.append(
            [
                *(rule, data, model, percent(share), attack, _state(measured, keys)),
                _estimate(point, rule, NDCG),
                _estimate(point, rule, share_retained),
                _estimate(point, rule, ER) if condition.targeted or condition.clean else None,
                _estimate(point, rule, beyond) if promotes else None,
                *(done, len(keys) - done),
                command(measured, dict(zip(names, group, strict=True))),
            ]
        )
    forms = {"Kept": ".3f", "ER@10": ".3f", "Beyond parity": "+.3f", "Done": "d", "Open": "d"}
    chosen = ("Rule", *WHERE, "Attack", "State")
    columns = [Column(name, forms.get(name, ".4f"), choose=name in chosen) for name in BY_ATTACK]
    return Table(
        "attacks", "By attack", "", columns, rows, "Every cell of the protocol, one row for its seeds."
    )


def _estimate(point: Point, rule: str, metric: Metric) -> Estimate | None:
    return point.section.estimate(rule, point.condition, metric) if point.section else None


def _state(measured: Measured, keys: Sequence[str]) -> str:
    """One word for the seeds of a row."""
    found = Counter(measured.states[key] for key in keys)
    if len(found) == 1:
        return next(iter(found))
    return next((state for state in ("failed", "in work") if found[state]), "part")


def published_table(measured: Measured) -> Table | None:
    """Numbers of papers beside those of the plain mean here; None where the protocol names none."""
    rows: list[list[Value]] = []
    for one in measured.protocol.head.published:
        section = measured.groups.get((one.data, one.model))
        here = section.mean(section.plain, section.cleans, one.column) if section and section.plain else None
        rows.append([one.data, one.model, one.metric, one.value, here, one.note, one.source])
    note = (
        "The two are not the same measurement: a published number is the mark of full training, not of this "
        "short budget."
    )
    columns = [Column(name) for name in PUBLISHED]
    return Table("published", "As published, as measured here", "", columns, rows, note) if rows else None


def failed_table(rows: Sequence[Mapping[str, Any]]) -> Table | None:
    """Cells whose last try ended with an error; the same command tries them again."""
    names = ("data", "model", "aggregator", "attack", "malicious_share", "seed", "error")
    failed: list[list[Value]] = [[str(one[n]) for n in names] for one in rows if one["status"] == "failed"]
    columns = [Column(name.replace("_", " ")) for name in names]
    return Table("failed", f"{len(failed)} failed cells", "", columns, failed) if failed else None


def command(measured: Measured, labels: Mapping[str, Any]) -> str:
    """What computes the cells with these labels."""
    keys = {
        "data": "data",
        "model": "model",
        "aggregator": "rule",
        "attack": "attack",
        "malicious_share": "share",
    }
    rule = labels.get("aggregator")
    added = [text for label, text in measured.protocol.added.items() if rule in (None, label)]
    only = ",".join(f"{name}={_text(labels[key])}" for key, name in keys.items() if key in labels)
    words = ["fedsieve", "leaderboard"]
    words += [measured.protocol.wanted] if measured.protocol.wanted != EDITION else []
    words += ["--out", measured.folder]
    words += [word for text in added for word in ("--add", text)]
    return shlex.join([*words, "--only", only])


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
