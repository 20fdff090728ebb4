"""The exception tree and its texts."""

from __future__ import annotations

import pickle

import pytest

from common import errors
from common.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    FedSieveError,
    RunError,
    UnknownName,
    WireError,
)


def test_everything_raised_on_purpose_has_one_base() -> None:
    for kind in (ConfigError, UnknownName, DataError, WireError, RunError, CheckpointError):
        assert issubclass(kind, FedSieveError)
    assert issubclass(UnknownName, ConfigError)
    assert not issubclass(WireError, ConfigError)


def test_the_drawn_tree_is_the_real_one() -> None:
    assert errors.__doc__ is not None
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, FedSieveError):
            assert name in errors.__doc__


@pytest.mark.parametrize(
    ("line", "column", "text"),
    [
        (None, None, "log.csv: is empty"),
        (3, None, "log.csv, line 3: is empty"),
        (3, "item", "log.csv, line 3, column item: is empty"),
        (None, "item", "log.csv, column item: is empty"),
    ],
)
def test_a_data_error_says_where(line: int | None, column: str | None, text: str) -> None:
    error = DataError("log.csv", "is empty", line, column)
    assert str(error) == text
    assert (error.file, error.line, error.column) == ("log.csv", line, column)


def test_a_wire_error_says_which_field_and_why() -> None:
    error = WireError("rows", "shape", "expected (4, 5)")
    assert str(error) == "rows: shape: expected (4, 5)"
    assert (error.field, error.reason) == ("rows", "shape")


def test_an_unknown_name_sorts_what_is_valid() -> None:
    assert str(UnknownName("attack", "x", iter(["b", "a"]))) == "unknown attack 'x'; valid: a, b"
    assert UnknownName("attack", "x", ()).valid == []
    assert str(UnknownName("attack", "x", ())) == "unknown attack 'x'; valid: none"


def test_of_many_names_the_nearest_are_listed() -> None:
    names = [f"rule_{number}" for number in range(30)] + ["krum", "bulyan"]
    told = str(UnknownName("rule", "krun", names))
    assert told.startswith("unknown rule 'krun': did you mean 'krum'? valid: krum, ")
    assert told.endswith(" and 20 more")
    assert len(told) < 200


@pytest.mark.parametrize(
    "error",
    [
        UnknownName("model", "x", ["a", "b"]),
        DataError("log.csv", "expected a number", 3, "time"),
        WireError("rows", "shape", "expected [2]"),
        RunError("too few nodes"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_crosses_a_process_boundary_whole(error: FedSieveError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
