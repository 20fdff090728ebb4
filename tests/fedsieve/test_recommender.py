"""The module of a trained model: the scores of the ranking, also for a model that reads times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from client.batch import gaps_of
from client.ranking import last_hidden
from common.config import ModelConfig
from common.data.ragged import Ragged
from common.errors import ConfigError
from common.models import initial, template
from common.seeding import generator
from fedsieve import Recommender

HISTORIES = [[3, 1, 4, 1, 5], [9, 2, 6]]
SECONDS = [[0.0, 10.0, 5000.0, 5001.0, 90000.0], [7.0, 8.0, 900.0]]


def model(name: str, **params: object) -> tuple[Recommender, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The module, its histories and gaps as tensors, and the scores of the ranking."""
    config = ModelConfig(name=name, params=params, dim=8, max_len=5, blocks=1)
    start, layout = initial(config, 12, generator(0, "model"))
    start = replace(start, encoder=torch.randn(len(start.encoder), generator=generator(1, "model")))
    encoder = template(config)
    items, times = Ragged.of(HISTORIES, np.int32), Ragged.of(SECONDS, np.float64)
    hidden = last_hidden(encoder, start, items, 5, times if params else None)
    with torch.no_grad():
        for key, value in layout.unflatten(start.encoder).items():
            encoder.get_parameter(key).copy_(value)
    padded = torch.tensor([row if len(row) == 5 else [0, 0, *row] for row in HISTORIES])
    one = Recommender(encoder, start.table, 5).eval().requires_grad_(False)
    return one, padded, gaps_of(times, 5), hidden @ start.table.T


def test_it_scores_as_the_ranking_does() -> None:
    one, histories, _, scores = model("sasrec")
    torch.testing.assert_close(one(histories)[:, 1:], scores[:, 1:])


def test_a_model_that_reads_times_wants_them() -> None:
    one, histories, gaps, scores = model("hstu", times=True)
    torch.testing.assert_close(one(histories, gaps)[:, 1:], scores[:, 1:])
    assert not torch.allclose(one(histories, torch.zeros_like(gaps)), one(histories, gaps))
    longer = torch.cat([torch.tensor([[7], [0]]), histories], dim=1)  # the oldest is not read
    before = torch.cat([torch.zeros(2, 1), gaps], dim=1)
    before[0, 1] = 60.0
    torch.testing.assert_close(one(longer, before), one(histories, gaps))
    with pytest.raises(ConfigError, match="gaps: the model reads times: give gaps"):
        one(histories)


def test_a_model_without_times_takes_none() -> None:
    one, histories, gaps, _ = model("sasrec")
    with pytest.raises(ConfigError, match="gaps: the model reads no times"):
        one(histories, gaps)
