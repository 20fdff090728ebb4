"""Flat parameters, seeded starts, and names."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.config import ModelConfig, most_parameters
from common.errors import UnknownName
from common.models import MODELS, Layout, build_model, initial, layout_of
from tests.common.models.samples import DIM, MAX_LEN, NAMES, build

EACH = pytest.mark.parametrize("name", NAMES)


def config(name: str, **changes: int) -> ModelConfig:
    return ModelConfig.model_validate({"name": name, "dim": DIM, "max_len": MAX_LEN, "heads": 2} | changes)


def start(
    name: str, seed: int = 0, items: int = 40, **changes: int
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    model, layout = initial(config(name, **changes), items, torch.Generator().manual_seed(seed))
    return layout.unflatten(model.encoder), model.table


@EACH
def test_the_layout_names_every_parameter_in_order(name: str) -> None:
    model = build(name)
    layout = layout_of(model)
    assert layout.names == tuple(n for n, _ in model.named_parameters())
    assert layout.total == sum(p.numel() for p in model.parameters())
    flat = layout.flatten(dict(model.named_parameters()))
    assert torch.equal(flat, torch.nn.utils.parameters_to_vector(model.parameters()))


shapes = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5)


@given(shapes=shapes, lead=st.lists(st.integers(1, 3), max_size=2))
def test_flatten_and_unflatten_undo_each_other(shapes: list[tuple[int, ...]], lead: list[int]) -> None:
    layout = Layout(tuple(f"p{i}" for i in range(len(shapes))), tuple(shapes))
    size = (*lead, layout.total)
    flat = torch.arange(math.prod(size)).float().reshape(size)
    named = layout.unflatten(flat)
    assert [tuple(named[n].shape) for n in layout.names] == [(*lead, *s) for s in shapes]
    assert torch.equal(layout.flatten(named), flat)
    backwards = dict(reversed(list(named.items())))
    assert torch.equal(layout.flatten(backwards), flat)  # the order is the layout's, not the mapping's


def test_a_flat_vector_of_another_length_is_refused() -> None:
    layout = Layout(("a", "b"), ((2, 2), (3,)))
    with pytest.raises(RuntimeError):
        layout.unflatten(torch.zeros(8))


@EACH
def test_the_start_depends_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    first = initial(config(name), 40, torch.Generator().manual_seed(3))[0]
    torch.manual_seed(2)
    again = initial(config(name), 40, torch.Generator().manual_seed(3))[0]
    other = initial(config(name), 40, torch.Generator().manual_seed(4))[0]
    assert torch.equal(first.encoder, again.encoder)
    assert torch.equal(first.table, again.table)
    assert not torch.equal(first.encoder, other.encoder)
    assert not torch.equal(first.table, other.table)


@EACH
def test_matrices_are_xavier_biases_zero_and_norms_one(name: str) -> None:
    encoder, _ = start(name, dim=64)
    for key, value in encoder.items():
        if key.endswith("bias") or key == "position":
            assert not bool(value.any()), key
        elif "norm" in key:
            assert bool((value == 1).all()), key
        elif value.dim() == 2:
            std, n = (2 / sum(value.shape)) ** 0.5, value.numel()
            assert float(value.std()) == pytest.approx(std, rel=3 / (2 * n) ** 0.5), key
            assert float(value.mean()) == pytest.approx(0.0, abs=4 * std / n**0.5), key


def test_every_unit_of_a_linear_recurrence_starts_in_the_ring() -> None:
    encoder, _ = start("lrurec", dim=16)
    modulus = torch.exp(-torch.exp(-encoder["blocks.0.mixer.decay"]))  # [2d]
    assert modulus.numel() == 32
    assert 0.8 <= float(modulus.min()) < 0.81
    assert 0.98 < float(modulus.max()) <= 0.99
    angles = (encoder["blocks.0.mixer.angle"].exp() / (2 * math.pi)).sort().values  # [2d] of a whole turn
    assert float(angles.diff().max()) < 2 / 32  # no gap: every period is there
    scale = encoder["blocks.0.mixer.scale"]
    torch.testing.assert_close(scale, (1 - modulus.square()).sqrt())


def test_item_rows_have_norm_one_on_average_and_padding_is_zero() -> None:
    _, table = start("sasrec", items=500, dim=64)
    assert table.shape == (501, 64)
    assert not bool(table[0].any())
    assert float(table[1:].norm(dim=1).mean()) == pytest.approx(1.0, abs=0.03)
    assert float(table[1:].std()) == pytest.approx(1 / 8, rel=0.03)


@EACH
def test_a_start_has_no_gradient_attached(name: str) -> None:
    model, _ = initial(config(name), 5, torch.Generator().manual_seed(0))
    assert not model.encoder.requires_grad
    assert not model.table.requires_grad


def test_names_in_the_registry_build_what_the_config_asks_for() -> None:
    assert build_model(config("sasrec", blocks=3)).dropout_sites == 7
    assert sum("query" in n for n, _ in build_model(config("sasrec", blocks=3)).named_parameters()) == 3
    assert set(MODELS) >= {"sasrec", "gru4rec", "esasrec", "bert4rec", "hstu", "lrurec", "fmlprec"}


def test_an_unknown_model_is_refused_with_the_valid_names() -> None:
    with pytest.raises(
        UnknownName,
        match=r"unknown model 'caserec': did you mean 'sasrec'\? valid: bert4rec, esasrec, fmlprec, ",
    ):
        build_model(config("caserec"))


@EACH
@pytest.mark.parametrize(("dim", "max_len", "blocks"), [(2, 1, 1), (8, 6, 1), (16, 3, 4), (4, 200, 2)])
def test_no_model_has_more_parameters_than_its_bound(name: str, dim: int, max_len: int, blocks: int) -> None:
    made = layout_of(build_model(config(name, dim=dim, max_len=max_len, blocks=blocks)))
    assert made.total <= most_parameters(name, dim, max_len, blocks)
