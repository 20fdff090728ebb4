"""Code rows: which rows belong to which item, and the settings that ask for them."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.codes import Codes, codes_of
from common.config import ModelConfig, prime_from
from common.errors import ConfigError
from common.models import initial
from common.seeding import generator
from common.settings import load
from common.tasks import GlobalModel

PRIMES = (2, 3, 5, 7, 11, 13)


def slow(item: int, books: int, rows: int) -> list[int]:
    """A polynomial with the digits of item - 1 as coefficients, at 0, 1, …, in Python numbers."""
    digits, left = [], item - 1
    while left:
        digits.append(left % rows)
        left //= rows
    return [1 + k * rows + sum(a * k**j for j, a in enumerate(digits)) % rows for k in range(books)]


@given(st.data())
def test_codes_are_values_of_a_polynomial(data: st.DataObject) -> None:
    rows = data.draw(st.sampled_from(PRIMES))
    books = data.draw(st.integers(2, min(4, rows)))
    size = data.draw(st.integers(1, min(400, rows**books)))
    found = Codes(books, rows, size).of(torch.arange(size + 1))
    assert found.tolist() == [[0] * books, *(slow(item, books, rows) for item in range(1, size + 1))]


def test_no_two_items_share_more_rows_than_digits_allow() -> None:
    for books, rows, size, most in ((3, 7, 49, 1), (4, 5, 125, 2), (2, 11, 121, 1), (3, 3, 27, 2)):
        codes = Codes(books, rows, size)
        assert codes.digits == most + 1
        tuples = [set(numbers) for numbers in codes.of(torch.arange(1, size + 1)).tolist()]
        assert max(len(one & other) for one, other in combinations(tuples, 2)) == most


def test_a_million_items_have_different_codes_and_every_row_as_many_items() -> None:
    codes = Codes(4, 1021, 1_000_000)
    every = codes.every[1:]
    assert len(torch.unique(every, dim=0)) == 1_000_000
    held = torch.bincount(every.flatten(), minlength=codes.total + 1)[1:]
    assert set(held.tolist()) == {1_000_000 // 1021, 1_000_000 // 1021 + 1}


def test_a_stretch_of_the_catalogue_is_spread_over_all_rows() -> None:
    some = Codes(3, 13, 2000).of(torch.arange(703, 716))  # 702 = 54 · 13
    assert Counter(some.flatten().tolist()) == dict.fromkeys(range(1, 40), 1)


def test_a_code_follows_from_the_number_alone() -> None:
    items = torch.randint(0, 1000, (5, 7), generator=generator(0, "items"))
    assert torch.equal(Codes(4, 31, 1000).of(items), Codes(4, 31, 900_000).of(items))
    assert torch.equal(Codes(4, 31, 1000).every[items], Codes(4, 31, 1000).of(items))


def coded(books: int = 3, rows: int = 7, size: int = 30) -> GlobalModel:
    config = ModelConfig(dim=4, code_books=books, code_rows=rows)
    return initial(config, size, generator(1, "model"))[0]


def test_an_embedding_is_the_scaled_sum_of_its_rows() -> None:
    model = coded()
    assert model.table.shape == (22, 4)
    assert model.num_items == 30
    assert not bool(model.embed(torch.tensor([0])).any())
    for item in (1, 8, 30):
        expected = model.table[slow(item, 3, 7)].sum(0) / 3**0.5
        torch.testing.assert_close(model.embed(torch.tensor(item)), expected)
    assert model.embeddings.shape == (31, 4)
    grid = torch.tensor([[0, 3], [30, 3]])
    assert torch.equal(model.embed(grid), model.embeddings[grid])
    assert torch.equal(model.block(5, 9), model.embeddings[5:9])


def test_values_go_to_rows_as_embeddings_come_from_them() -> None:
    """⟨E(T), V⟩ = ⟨T, Eᵀ(V)⟩ but for the scale, for any table T and values V."""
    model = coded()
    values = torch.randn(31, 4, generator=generator(2, "values"))
    values[0] = 0
    left = (model.embeddings * values).sum() * 3**0.5
    torch.testing.assert_close(left, (model.table * model.onto_rows(values)).sum())


def test_embeddings_start_as_long_as_rows_of_their_own() -> None:
    shared, own = coded(4, 97, 3000).embeddings[1:], initial(ModelConfig(dim=4), 3000, generator(1, "m"))[0]
    assert float(shared.square().mean()) == pytest.approx(float(own.table[1:].square().mean()), rel=0.1)


def test_without_codes_the_table_is_the_catalogue() -> None:
    model, _ = initial(ModelConfig(dim=4), 30, generator(1, "model"))
    assert model.codes is None
    assert model.embeddings is model.table
    items = torch.tensor([[4, 0], [30, 1]])
    assert torch.equal(model.embed(items), model.table[items])
    assert model.numbers(items).tolist() == [[[4], [0]], [[30], [1]]]
    assert model.onto_rows(model.table) is model.table


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ("model.code_books=1", "model.code_books: expected 0, or 2 to 16 books"),
        ("model.code_books=17", "model.code_books: expected a whole number from 0 to 16"),
        (
            "model.code_rows=1024",
            r"model.code_rows: expected a prime, such as 1021 or 1031 \(given: 1024\)",
        ),
        ("model.code_books=5 model.code_rows=3", "expected at least as many rows as books, 5"),
    ],
)
def test_settings_that_make_no_codes_are_refused_in_one_line(settings: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as raised:
        load(overrides=settings.split())
    assert "\n" not in str(raised.value)


def test_a_catalogue_with_more_items_than_codes_is_refused() -> None:
    config = ModelConfig(code_books=2, code_rows=31)
    assert codes_of(config, 961) == Codes(2, 31, 961)
    with pytest.raises(
        ConfigError, match="961 different codes, the catalogue 1,682 items; expected a prime from 43 on"
    ):
        codes_of(config, 1682)
    assert codes_of(ModelConfig(), 10**9) is None


def test_primes() -> None:
    assert [prime_from(n) for n in (0, 2, 4, 1020, 1022, 65520)] == [2, 2, 5, 1021, 1031, 65521]
