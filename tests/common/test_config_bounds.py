"""A model description is bounded before anything is built, and within its bounds a model is of a size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from common.config import MAX_ATTENTION, MAX_PARAMETERS, ModelConfig
from common.errors import ConfigError
from common.models import MODELS, build_model, layout_of
from common.settings import validate


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"blocks": 100_000}, "model.blocks: .*64.*given: 100000"),
        ({"heads": 65}, "model.heads: .*64.*given: 65"),
        ({"dim": 4097}, "model.dim: .*4096.*given: 4097"),
        ({"max_len": 10**9}, "model.max_len: .*4096.*given: 1000000000"),
        ({"blocks": 64, "dim": 2048}, "model: .*blocks 64, dim 2048.*1,610,.* valid: up to 67,108,864"),
        ({"heads": 2, "max_len": 4096}, "model: .*heads 2 and max_len 4096.* valid: up to 16,777,216"),
    ],
)
def test_settings_name_what_is_too_large(model: dict[str, int], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refusal:
        validate({"model": model})
    assert "\n" not in str(refusal.value)


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(sorted(MODELS)),
    dim=st.integers(-1, 10_000),
    max_len=st.integers(-1, 10_000),
    blocks=st.integers(-1, 200_000),
    heads=st.sampled_from([-1, 1, 2, 64, 65, 10**9]),
)
def test_what_is_taken_fits_in_memory(name: str, dim: int, max_len: int, blocks: int, heads: int) -> None:
    """The count of parameters is that of the modules, built without memory for their values."""
    try:
        config = ModelConfig(name=name, dim=dim, max_len=max_len, blocks=blocks, heads=heads)
    except ValidationError:
        return
    assert config.heads * config.max_len**2 <= MAX_ATTENTION
    with torch.device("meta"):
        try:
            total = layout_of(build_model(config)).total
        except ConfigError:  # a width that the heads do not divide
            return
    assert total <= 1.1 * MAX_PARAMETERS  # biases and norms are not counted


@pytest.mark.parametrize("name", sorted(MODELS))
def test_models_of_the_literature_are_taken(name: str) -> None:
    for dim, max_len, blocks, heads in (
        (50, 200, 2, 1),
        (256, 200, 4, 8),
        (768, 512, 8, 12),
        (64, 2048, 2, 4),
    ):
        ModelConfig(name=name, dim=dim, max_len=max_len, blocks=blocks, heads=heads)
