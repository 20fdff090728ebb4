"""Columns of text that stand for tuples and dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.data.names import Names, Titles

TEXTS = st.lists(st.text(max_size=3), max_size=6)


@given(TEXTS, st.text(max_size=3), st.integers(0, 6), st.integers(0, 6))
def test_names_do_what_a_tuple_does(texts: list[str], other: str, start: int, stop: int) -> None:
    names = Names.of(texts)
    assert names == texts
    assert names == tuple(texts)
    assert names == Names.of(names) == Names.of(tuple(texts))
    assert list(names) == texts
    assert (names == [*texts, other]) is False
    assert len(names) == len(texts)
    assert names[start:stop] == texts[start:stop]
    assert names[::-1] == texts[::-1]
    assert (other in names) == (other in texts)
    assert 7 not in names
    for place in range(-len(texts), len(texts)):
        assert names[place] == texts[place]
    for text in {*texts, other}:
        if text in texts[start:]:
            assert names.index(text, start) == texts.index(text, start)
        else:
            with pytest.raises(ValueError, match="is not there"):
                names.index(text, start)


def test_names_end_where_the_column_ends() -> None:
    with pytest.raises(IndexError):
        Names.of(["a"])[1]
    assert Names.of(["a", "b", "c"]).take(np.array([2, 0])) == ("c", "a")
    assert "'a', 'b', 'c', …; 4" in repr(Names.of("abcd"))


@given(st.dictionaries(st.integers(1, 6), st.text(max_size=3)))
def test_titles_do_what_a_dictionary_does(known: dict[int, str]) -> None:
    titles = Titles.of(known, 6)
    assert titles == known
    assert len(titles) == len(known)
    assert list(titles) == sorted(known)
    for number in range(-1, 9):
        assert titles.get(number) == known.get(number)
    assert Titles.of(titles, 6) is titles
