"""Robust federated sequential recommendation: run, compare, recommend; rules and attacks as classes.

>>> import fedsieve
>>> result = fedsieve.run("ml-100k", rounds=20, attack="label_to_target")  # doctest: +SKIP
>>> result.metrics["ndcg@10"], result.recommend(["50", "181"], k=5)  # doctest: +SKIP

What is here is loaded when it is first used: PyTorch takes seconds.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

for _name in ("common", "server", "client", "attacks", "transport", "emulation", "experiments"):
    _spec = find_spec(_name)
    _found = Path(_spec.origin or "") if _spec else Path()
    if _found.parent.parent != Path(__file__).parent.parent:
        raise ImportError(f"{_found} hides fedsieve's package {_name!r}; rename it, or start python -P")

from common.errors import (  # noqa: E402
    CheckpointError,
    ConfigError,
    DataError,
    FedSieveError,
    RunError,
    UnknownName,
    WireError,
)

if TYPE_CHECKING:
    from common.config import RunConfig
    from common.data import Dataset
    from fedsieve import aggregators, attacks, constraints, models, optimizers, regularisers
    from fedsieve.comparing import Comparison, compare
    from fedsieve.logs import load_log
    from fedsieve.recommender import Recommender
    from fedsieve.registering import register
    from fedsieve.result import Result, load_result
    from fedsieve.running import run
    from fedsieve.settings import load_config
    from fedsieve.strategy import RobustStrategy

_HOMES = {
    "Comparison": "fedsieve.comparing",
    "Dataset": "common.data",
    "Recommender": "fedsieve.recommender",
    "Result": "fedsieve.result",
    "RobustStrategy": "fedsieve.strategy",
    "RunConfig": "common.config",
    "compare": "fedsieve.comparing",
    "load_config": "fedsieve.settings",
    "load_log": "fedsieve.logs",
    "load_result": "fedsieve.result",
    "register": "fedsieve.registering",
    "run": "fedsieve.running",
}
_ROOMS = ("aggregators", "attacks", "constraints", "models", "optimizers", "regularisers")

__all__ = [
    "CheckpointError",
    "Comparison",
    "ConfigError",
    "DataError",
    "Dataset",
    "FedSieveError",
    "Recommender",
    "Result",
    "RobustStrategy",
    "RunConfig",
    "RunError",
    "UnknownName",
    "WireError",
    "aggregators",
    "attacks",
    "compare",
    "constraints",
    "load_config",
    "load_log",
    "load_result",
    "models",
    "optimizers",
    "register",
    "regularisers",
    "run",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
    elif name in _ROOMS:
        found = import_module(f"fedsieve.{name}")
    else:
        raise AttributeError(f"module 'fedsieve' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
