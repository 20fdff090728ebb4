"""Every setting of a run: typed, validated, unknown keys refused."""

from common.config.attack import AttackConfig
from common.config.client import ClientConfig
from common.config.data import DataConfig
from common.config.fields import Count, Named, OfComponent, Positive, Section, Several, Share
from common.config.model import ModelConfig, most_parameters, prime_from
from common.config.run import EvalConfig, RunConfig, WireConfig
from common.config.strategy import StrategyConfig
from common.config.train import TrainConfig
from common.registry import Component

__all__ = [
    "AttackConfig",
    "ClientConfig",
    "Component",
    "Count",
    "DataConfig",
    "EvalConfig",
    "ModelConfig",
    "Named",
    "OfComponent",
    "Positive",
    "RunConfig",
    "Section",
    "Several",
    "Share",
    "StrategyConfig",
    "TrainConfig",
    "WireConfig",
    "most_parameters",
    "prime_from",
]
