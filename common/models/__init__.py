"""Sequence models, each written for one user: ``forward(items [L, d], padding [L]) -> hidden [L, d]``.

With ``positions`` int64 [T] only these are worked out: ranking needs the last, a loss those with a target.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from common.codes import codes_of
from common.config import ModelConfig, TrainConfig
from common.device import CPU
from common.models.bert4rec import BERT4Rec
from common.models.esasrec import ESASRec
from common.models.flat import Layout, layout_of
from common.models.fmlprec import FMLPRec
from common.models.gru4rec import GRU4Rec
from common.models.hstu import HSTU
from common.models.lrurec import LRURec
from common.models.sasrec import SASRec
from common.registry import Registry
from common.tasks import GlobalModel


class SequenceModel(Protocol):
    """What training and ranking need of a model.

    One whose states have one length in each direction says so: ``state_length(named, directions [m, d])``
    -> [m], from its parameters by name. The sieve then knows what one interaction can do at most.

    One that learns by cloze says so: ``cloze``, the share of its items that a device hides; its call also
    takes ``masked`` bool [L], and state t is then of what stands at t + 1, hidden or beyond the last.

    One that reads when items were has ``timed``, true, and its call takes ``gaps`` [L]: seconds since the
    item before, 0 for the first; without them, and of a log without times, all are 0.
    """

    dropout_sites: int

    def __call__(
        self, items: Tensor, padding: Tensor, keep: Tensor | None = None, positions: Tensor | None = None
    ) -> Tensor: ...


Lengths = Callable[[Tensor], Tensor]
"""Unit vectors [m, d] -> a length along each, [m]."""

MODELS: Registry[nn.Module] = Registry(
    "model",
    "models",
    {
        "sasrec": SASRec,
        "esasrec": ESASRec,
        "bert4rec": BERT4Rec,
        "hstu": HSTU,
        "gru4rec": GRU4Rec,
        "lrurec": LRURec,
        "fmlprec": FMLPRec,
    },
    nn.Module,
)
OF_THE_MODEL = ("dim", "max_len", "blocks", "heads")
"""Settings that a model is given where its constructor takes them."""


def build_model(config: ModelConfig) -> nn.Module:
    """The encoder that ``config`` names, with ``config.params``. Raises UnknownName or ConfigError."""
    taken = inspect.signature(MODELS.find(config.name)).parameters
    common = {name: getattr(config, name) for name in OF_THE_MODEL if name in taken}
    return MODELS.build(config.name, common | config.params)


class _Kept(threading.local):
    """The last template in each mode: a node is asked for one model, round after round."""

    def __init__(self) -> None:
        self.of: dict[bool, tuple[object, nn.Module]] = {}


_KEPT = _Kept()


def template(config: ModelConfig, device: torch.device = CPU, training: bool = False) -> nn.Module:
    """The encoder that ``config`` names for ``functional_call``: its own parameters mean nothing.

    A thread builds it once, so that nobody may change it. training: its mode.
    """
    wanted = (MODELS.find(config.name), config, device)
    kept = _KEPT.of.get(training)
    if kept is None or kept[0] != wanted:
        kept = _KEPT.of[training] = (wanted, build_model(config).train(training).to(device))
    return kept[1]


def initial(config: ModelConfig, num_items: int, generator: torch.Generator) -> tuple[GlobalModel, Layout]:
    """Seeded start: matrices Xavier-normal, rows of the table N(0, 1/d), norms 1, biases and positions 0.

    Raises ConfigError where ``config`` has too few codes for the catalogue.
    """
    model = build_model(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and not name.endswith("position"):
                std = (2.0 / sum(parameter.shape)) ** 0.5
                parameter.normal_(0.0, std, generator=generator)
            elif name.endswith("bias"):  # torch draws these from its global generator
                parameter.zero_()
    layout = layout_of(model)
    codes = codes_of(config, num_items)
    size = num_items if codes is None else codes.total
    table = torch.randn(size + 1, config.dim, generator=generator) / config.dim**0.5  # [R + 1, d]
    table[0] = 0.0
    encoder = layout.flatten({name: p.detach() for name, p in model.named_parameters()})  # [P]
    return GlobalModel(encoder, table, codes), layout


def interaction_length(model: ModelConfig, train: TrainConfig, encoder: Tensor) -> Lengths | None:
    """How far one interaction moves the row of its next item at most: η·E·s(v)/L along a unit vector v.

    The slope of −log softmax there is (1 − p_t)·h_t/L, and h_t of that direction is s(v) long. encoder [P]:
    of the global model. None where the model has no ``state_length``, the loss has another slope, or a row
    belongs to several items.
    """
    if train.loss not in ("softmax", "sampled_softmax") or model.code_books:
        return None
    module = template(model)
    length = getattr(module, "state_length", None)
    if length is None:
        return None
    named = layout_of(module).unflatten(encoder)
    share = train.local_lr * train.local_steps / model.max_len

    def of(directions: Tensor) -> Tensor:
        lengths: Tensor = length(named, directions)  # [m]
        return lengths * share

    return of


__all__ = [
    "HSTU",
    "MODELS",
    "BERT4Rec",
    "ESASRec",
    "FMLPRec",
    "GRU4Rec",
    "LRURec",
    "Layout",
    "Lengths",
    "SASRec",
    "SequenceModel",
    "build_model",
    "initial",
    "interaction_length",
    "layout_of",
]
