"""Users that the server makes up."""

from __future__ import annotations

import pytest
import torch

from client.ranking import score
from common.config import ModelConfig
from common.models import build_model, initial
from common.tasks import GlobalModel
from server.probes import last_states, made_up


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


def test_items_are_drawn_by_popularity_at_every_place() -> None:
    popularity = torch.tensor([0.0, 2.0, 5.0], dtype=torch.float64)  # + 1: 1, 3, 6 of 10
    items = made_up(popularity, torch.full((20_000,), 1), gen())[:, 0]
    found = torch.bincount(items, minlength=4)[1:] / 20_000
    torch.testing.assert_close(found, torch.tensor([0.1, 0.3, 0.6]), atol=0.015, rtol=0)
    whole = made_up(popularity, torch.full((20_000,), 3), gen())
    for place in range(3):  # all three items are in every history, in no order
        share = torch.bincount(whole[:, place], minlength=4)[1:] / 20_000
        torch.testing.assert_close(share, torch.full((3,), 1 / 3), atol=0.015, rtol=0)


def test_more_items_than_there_are_is_the_whole_catalogue() -> None:
    items = made_up(torch.ones(5, dtype=torch.float64), torch.tensor([9, 2]), gen())
    assert sorted(items[0].tolist()) == [1, 2, 3, 4, 5]
    assert (items[1] > 0).sum() == 2


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
