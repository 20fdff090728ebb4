"""All settings of a run, with the small sections: when it evaluates, how updates travel."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from common.config.attack import AttackConfig
from common.config.client import ClientConfig
from common.config.data import DataConfig
from common.config.fields import Count, Section, listed
from common.config.model import ModelConfig
from common.config.strategy import StrategyConfig
from common.config.train import TrainConfig
from common.items import Item, as_group


class EvalConfig(Section):
    """When the devices rank the full catalogue; ``every: 0`` only at the end."""

    every: Count = Field(50, description="rounds between two evaluations on validation; 0: at the end alone")
    sample: Count = Field(
        0,
        description="devices that rank during the run, the same each time; all do at its end; 0: all always",
    )
    targets: Annotated[tuple[Item, ...], BeforeValidator(listed)] = Field(
        (),
        description="items whose exposure is measured: ids of the log, or `#12`; `[]`: the attack's",
    )
    group: Annotated[Item, BeforeValidator(as_group)] = Field(
        "", description="item: exposure is measured within the users who hold it as well; `none`: off"
    )


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

    @field_validator("device")
    @classmethod
    def _a_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", device):
            raise ValueError("expected auto, cpu, cuda or cuda:N")
        return device

    def scenario(self) -> dict[str, Any]:
        """Who attacks, for the summary of a run: an emulation knows, and a server only repeats it."""
        attack = self.attack
        return {
            "attack": attack.name,
            "malicious_share": attack.share if attack.name != "none" else 0.0,
            "knowledge": attack.knowledge,
        }

    @property
    def omniscient(self) -> bool:
        """Whether attackers see the honest updates of a round, which is possible in one process alone."""
        return self.attack.knowledge == "full"
