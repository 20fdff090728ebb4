"""All settings of a run, with the small sections: when it evaluates, how updates travel."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from common.config.attack import AttackConfig
from common.config.client import ClientConfig
from common.config.data import DataConfig
from common.config.fields import Count, Numbers, Section, listed
from common.config.model import ModelConfig
from common.config.strategy import StrategyConfig
from common.config.train import TrainConfig
from common.items import Item, as_group

Quantile = Annotated[float, Field(gt=0, lt=1)]


class EvalConfig(Section):
    """When the devices rank the full catalogue; ``every: 0`` only at the end."""

    every: Count = Field(50, description="rounds between two evaluations on validation; 0: at the end alone")
    split: Literal["leave_one_out", "time"] = Field(
        "leave_one_out",
        description="what is held out: the last two items of each device; or by `time`, the next item of "
        "each after one moment for validation, and after a later one for the test",
    )
    quantiles: tuple[Quantile, ...] = Field(
        (0.8, 0.9), description="with `split: time`: shares of all interactions before the two moments"
    )
    times: tuple[float, ...] = Field(
        (), description="with `split: time`: the two moments themselves, in seconds; nodes need them told"
    )
    sample: Count = Field(
        0,
        description="devices that rank during the run, the same each time; all do at its end; 0: all always",
    )
    cuts: Annotated[Numbers, Field(max_length=20)] = Field(
        (), description="further K at which HR and NDCG of the test are told, beside 5, 10 and 20"
    )
    bootstrap: Annotated[int, Field(ge=0, le=100_000)] = Field(
        1000, description="resamples of the evaluated users behind the intervals in the summary; 0: none"
    )
    targets: Annotated[tuple[Item, ...], BeforeValidator(listed)] = Field(
        (),
        description="items whose exposure is measured: ids of the log, or `#12`; `[]`: the attack's",
    )
    group: Annotated[Item, BeforeValidator(as_group)] = Field(
        "",
        description="an item: exposure is also measured among those users alone who have it in their "
        "history; empty or `none`: it is not",
    )

    @field_validator("quantiles", "times")
    @classmethod
    def _ascending(cls, pair: tuple[float, ...]) -> tuple[float, ...]:
        if pair and not (len(pair) == 2 and pair[0] < pair[1]):
            raise ValueError("expected two, the earlier one first")
        return pair

    @field_validator("quantiles")
    @classmethod
    def _there(cls, pair: tuple[float, ...]) -> tuple[float, ...]:
        if not pair:
            raise ValueError("expected two, as in [0.8, 0.9]")
        return pair

    @property
    def moments(self) -> tuple[float, float] | None:
        """The two times of a time split, once they are known; None: leave-one-out."""
        return (self.times[0], self.times[1]) if self.split == "time" and self.times else None


class WireConfig(Section):
    """How updates are packed."""

    dtype: Literal["float16", "float32"] = Field("float16", description="of the numbers that travel")
    reply_mb: Annotated[float, Field(gt=0, le=1024)] = Field(
        256.0, description="MiB of a reply; the devices of a node that would send more are asked in parts"
    )


class RunConfig(Section):
    """All settings of one run."""

    seed: Count = Field(0, description="of the model's start, of the devices' draws, and of who is malicious")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N; auto takes a GPU where there is one")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    strategy: StrategyConfig = StrategyConfig()
    client: ClientConfig = ClientConfig()
    attack: AttackConfig = AttackConfig()
    eval: EvalConfig = EvalConfig()
    wire: WireConfig = WireConfig()
    checkpoint_every: Count = Field(50, description="rounds between two checkpoints; 0: at the end alone")

    @field_validator("eval")
    @classmethod
    def _watched(cls, section: EvalConfig, others: ValidationInfo) -> EvalConfig:
        train = others.data.get("train")
        if train is not None and train.patience and not section.every:
            raise ValueError(
                f"every is 0, and train.patience={train.patience} counts evaluations; expected 1 or more"
            )
        return section

    @field_validator("device")
    @classmethod
    def _a_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", device):
            raise ValueError("expected auto, cpu, cuda or cuda:N")
        return device

    def scenario(self) -> dict[str, Any]:
        """Who attacks, for the summary of a run: an emulation knows, and a server only repeats it.

        ``targets_asked`` is false where nobody promotes an item and the exposure that is measured is that of
        the items which an attack would have had.
        """
        attack, measured = self.attack, self.eval
        asked = attack.name != "none" or measured.targets != attack.targets or bool(measured.group)
        return {
            **({} if asked else {"targets_asked": False}),
            "attack": attack.name,
            "malicious_share": attack.share if attack.name != "none" else 0.0,
            "knowledge": attack.knowledge,
        }

    @property
    def omniscient(self) -> bool:
        """Whether attackers see the honest updates of a round, which is possible in one process alone."""
        return self.attack.knowledge == "full"
