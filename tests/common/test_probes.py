"""Users that the server makes up."""

from __future__ import annotations

import pytest
import torch

from client.ranking import score
from common.config import ModelConfig
from common.models import build_model, initial
from common.probes import last_states, made_up
from common.tasks import GlobalModel


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_histories_have_their_lengths_and_no_item_twice() -> None:
    lengths = torch.tensor([1, 7, 3, 20])
    items = made_up(torch.rand(20, dtype=torch.float64, generator=gen()), lengths, gen())
    assert items.shape == (4, 20)
    for row, length in zip(items, lengths, strict=True):
        own = row[20 - length :]
        assert not row[: 20 - length].any()
        assert len(set(own.tolist())) == length
        assert 1 <= int(own.min()) <= int(own.max()) <= 20


@pytest.mark.parametrize("unit", [0.01, 1.0, 100.0])
def test_items_are_drawn_by_popularity_in_any_unit(unit: float) -> None:
    popularity = unit * torch.tensor([0.0, 4.0, 8.0], dtype=torch.float64)  # + a quarter of 4: 1, 5, 9 of 15
    items = made_up(popularity, torch.full((20_000,), 1), gen())[:, 0]
    assert_shares(items, [1 / 15, 5 / 15, 9 / 15])


def test_a_long_history_beside_it_does_not_change_how_a_short_one_is_drawn() -> None:
    popularity = torch.tensor([0.0, 4.0, 8.0], dtype=torch.float64)
    lengths = torch.full((20_000,), 1)
    lengths[0] = 3
    items = made_up(popularity, lengths, gen())
    assert not items[1:, :2].any()
    assert_shares(items[1:, 2], [1 / 15, 5 / 15, 9 / 15])


def test_a_history_is_in_no_order() -> None:
    popularity = torch.tensor([0.0, 2.0, 100.0], dtype=torch.float64)
    whole = made_up(popularity, torch.full((20_000,), 3), gen())
    for place in range(3):
        assert_shares(whole[:, place], [1 / 3] * 3)


def test_before_anything_is_known_every_item_is_as_likely() -> None:
    items = made_up(torch.zeros(3, dtype=torch.float64), torch.full((20_000,), 1), gen())
    assert_shares(items[:, 0], [1 / 3] * 3)


def assert_shares(items: torch.Tensor, expected: list[float]) -> None:
    found = torch.bincount(items, minlength=len(expected) + 1)[1:] / len(items)
    torch.testing.assert_close(found, torch.tensor(expected), atol=0.015, rtol=0)


def test_more_items_than_there_are_is_the_whole_catalogue() -> None:
    items = made_up(torch.ones(5, dtype=torch.float64), torch.tensor([9, 2]), gen())
    assert sorted(items[0].tolist()) == [1, 2, 3, 4, 5]
    assert (items[1] > 0).sum() == 2


def test_with_a_taste_a_history_keeps_to_what_goes_together() -> None:
    table = torch.cat([torch.zeros(1, 2), torch.eye(2).repeat_interleave(10, 0)])  # two kinds of items
    popularity = torch.ones(20, dtype=torch.float64)
    lengths = torch.full((4000,), 6)
    shares = {}
    for taste in (0.0, 1.0, 1000.0):
        kind = (made_up(popularity, lengths, gen(), table, taste) > 10).double().mean(1)
        assert float(kind.mean()) == pytest.approx(0.5, abs=0.03)  # neither kind gains
        shares[taste] = float(((kind == 0) | (kind == 1)).double().mean())
    assert shares[0.0] < 0.03 < shares[1.0] < 0.9 < shares[1000.0]


def test_taste_is_measured_from_the_mean_row() -> None:
    table = torch.cat([torch.zeros(1, 2), torch.eye(2).repeat_interleave(10, 0)])
    lengths = torch.full((50,), 6)
    popularity = torch.rand(20, dtype=torch.float64, generator=gen())
    drawn = [made_up(popularity, lengths, gen(), table + shift, 4.0) for shift in (0.0, 100.0)]
    assert torch.equal(*drawn)


@pytest.mark.parametrize("name", ["sasrec", "gru4rec"])
def test_a_state_is_the_one_that_a_device_recommends_from(name: str) -> None:
    config = ModelConfig(name=name, dim=8, max_len=6, dropout=0.5)
    model, _ = initial(config, 20, gen())
    long = made_up(torch.ones(20, dtype=torch.float64), torch.tensor([4, 6]), gen())
    both = last_states(config, model, long)
    alone = last_states(config, model, long[:1, 2:])  # padding does not matter
    torch.testing.assert_close(both[:1], alone)
    histories = [row[row > 0].numpy() for row in long]
    scores = score(build_model(config).eval(), model, histories, config.max_len)
    torch.testing.assert_close(both @ model.table.T, scores)
    other = GlobalModel(model.encoder + 0.1, model.table)
    assert not torch.allclose(last_states(config, other, long), both)


@pytest.mark.parametrize("taste", [0.0, 4.0])
def test_many_items_are_drawn_for_a_few_users_at_a_time(
    monkeypatch: pytest.MonkeyPatch, taste: float
) -> None:
    popularity, lengths = torch.arange(50, dtype=torch.float64), torch.arange(1, 18)
    table = torch.randn(51, 4, generator=gen(3))
    whole = made_up(popularity, lengths, gen(), table, taste)
    monkeypatch.setattr("common.probes.RACES", 200)  # four users
    few = made_up(popularity, lengths, gen(), table, taste)
    assert few.shape == whole.shape
    assert torch.equal((few > 0).sum(1), lengths)
    assert all(len(set(row[row > 0].tolist())) == int(n) for row, n in zip(few, lengths, strict=True))
    assert float((few == whole).double().mean()) > 0.9  # one draw after the other, from one generator
