"""A key has one owner; who falls silent loses it to one other."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from common.errors import RunError
from experiments.leaderboard.claims import Claim, Claims

LONG_S, SHORT_S = 60.0, 0.3


def test_of_many_who_want_a_key_one_gets_it(tmp_path: Path) -> None:
    count = 8
    ready = Barrier(count)
    rivals = [Claims(tmp_path, LONG_S) for _ in range(count)]

    def want(claims: Claims) -> Claim | None:
        with claims:
            held = claims.held()
            ready.wait()
            found = claims.take("a", held)
            ready.wait()  # nobody gives up before all have tried
            return found

    with ThreadPoolExecutor(count) as pool:
        found = list(pool.map(want, rivals))
    assert [one for one in found if one is not None] == [Claim("a", 1)]


def test_a_living_owner_keeps_a_key_and_a_silent_one_loses_it_once(tmp_path: Path) -> None:
    with Claims(tmp_path, SHORT_S) as living, Claims(tmp_path, SHORT_S) as other:
        assert living.take("a", living.held()) == Claim("a", 1)
        time.sleep(2 * SHORT_S)  # it is alive by its thread alone
        assert other.held() == {"a": (1, True)}
        assert other.take("a", other.held()) is None
    with Claims(tmp_path, LONG_S) as dead:
        assert dead.take("b", dead.held()) == Claim("b", 1)
        with Claims(tmp_path, SHORT_S) as one, Claims(tmp_path, SHORT_S) as two:
            time.sleep(2 * SHORT_S)
            seen = one.held()
            assert seen["b"] == (1, False)
            assert one.take("b", seen) == Claim("b", 2)
            assert two.take("b", seen) is None  # it saw the same, and was later
            assert two.held()["b"] == (2, True)


def test_what_is_given_up_is_free_and_what_is_finished_leaves_nothing(tmp_path: Path) -> None:
    with Claims(tmp_path, LONG_S) as one:
        claim = one.take("a", one.held())
        assert claim is not None
        one.release(claim)
        assert one.held() == {"a": (1, False)}
        again = one.take("a", one.held())
        assert again == Claim("a", 2)
        one.finish(again)
        assert one.held() == {}
        one.take("b", {})
    with Claims(tmp_path, LONG_S) as next_:
        assert next_.held() == {"b": (1, False)}  # its owner has ended
    assert [path.name for path in tmp_path.iterdir()] == ["b.1"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(RunError, match=r"--out: cannot write .*claims"),
        Claims(tmp_path / "file" / "claims", 1),
    ):
        pass
