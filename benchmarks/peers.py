"""The same rules as others ship them: byzfl (torch tensors) and Flower, for side-by-side runs."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedMedian, FedTrimmedAvg, Krum, MultiKrum
from torch import Tensor

Rule = Callable[[], Tensor]
"""One aggregation of updates that are already in memory -> [D]."""

Prepare = Callable[[], Rule]
"""What is not timed: some of Flower's strategies empty the replies they are given."""


def byzfl_rules(flat: Tensor, f: int, tau: float) -> dict[str, Prepare]:
    """byzfl's rules on [n, D], or none where it is not installed (``pip install --no-deps byzfl``)."""
    if "byzfl" not in sys.modules:  # its own __init__ wants torchvision for parts that are not used here
        found = importlib.util.find_spec("byzfl")
        if found is None:
            return {}
        package = types.ModuleType("byzfl")
        package.__path__ = list(found.submodule_search_locations or [])
        sys.modules["byzfl"] = package
    rules: Any = import_module("byzfl.aggregators.aggregators")
    mix: Any = import_module("byzfl.aggregators.preaggregators")
    known: Mapping[str, Rule] = {
        "krum": lambda: rules.Krum(f=f)(flat),
        "multi_krum": lambda: rules.MultiKrum(f=f)(flat),
        "geometric_median": lambda: rules.GeometricMedian(nu=1e-6, T=20)(flat),
        "nnm + mean": lambda: rules.Average()(mix.NNM(f=f)(flat)),
        "arc + mean": lambda: rules.Average()(mix.ARC(f=f)(flat.clone())),  # it clips in place
        "centred_clipping": lambda: rules.CenteredClipping(L=5, tau=tau)(flat),
        "mda": lambda: rules.MDA(f=f)(flat),
        "meamed": lambda: rules.Meamed(f=f)(flat),
        "median": lambda: rules.Median()(flat),
        "trimmed_mean": lambda: rules.TrMean(f=f)(flat),
    }
    return {name: (lambda rule=rule: rule) for name, rule in known.items()}


def flower_rules(flat: Tensor, f: int) -> dict[str, Prepare]:
    """Flower's strategies on replies that each hold one array [D]."""
    n = len(flat)
    strategies: Mapping[str, Callable[[], Any]] = {
        "krum": lambda: Krum(num_malicious_nodes=f),
        "multi_krum": lambda: MultiKrum(num_malicious_nodes=f, num_nodes_to_select=n - f),
        "median": FedMedian,
        "trimmed_mean": lambda: FedTrimmedAvg(beta=f / n),
    }

    def prepare(make: Callable[[], Any]) -> Rule:
        strategy, replies = make(), [_reply(update) for update in flat]

        def run() -> Tensor:
            arrays, _ = strategy.aggregate_train(1, replies)
            return torch.from_numpy(next(iter(arrays.values())).numpy())

        return run

    return {name: (lambda make=make: prepare(make)) for name, make in strategies.items()}


def _reply(update: Tensor) -> Message:
    ask = Message(RecordDict(), dst_node_id=1, message_type=MessageType.TRAIN)
    arrays = ArrayRecord({"u": Array(update.numpy())})
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}), reply_to=ask)
