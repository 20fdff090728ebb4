"""Settings of malicious devices."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from common.config.fields import OfComponent, Positive, Share, word_or_list
from common.items import Item


class AttackConfig(OfComponent):
    """What malicious devices do. Read by the emulation and the nodes, never by the strategy."""

    closed = ("none",)

    name: str = Field("none", description="which attack, see `fedsieve list attacks`")
    share: Share = Field(0.2, description="share of all devices that are malicious")
    targets: Annotated[
        tuple[Item, ...] | Literal["cold", "medium", "random"], BeforeValidator(word_or_list)
    ] = Field(
        "cold",
        description="items to promote: ids of the log, `#12` by the number in the catalogue, or how to pick",
    )
    target_count: Positive = Field(1, description="how many items `cold`, `medium` or `random` picks")
    start_round: Positive = Field(1, description="first round of the attack")
    period: Positive = Field(1, description="from start_round on, attack in `active` rounds of `period`")
    active: Positive = Field(1, description="rounds of each `period` in which the attack is on")
    rest: Literal["honest", "parity"] = Field(
        "honest",
        description="what malicious devices do in the other rounds; `parity`: as honest ones with the target",
    )
    knowledge: Literal["own", "full"] = Field(
        "own", description="`full`: the honest updates of the round are seen; in one process only"
    )
    params: dict[str, Any] = Field({}, description="of the attack itself; also written beside its name")

    @field_validator("active")
    @classmethod
    def _within_period(cls, active: int, others: ValidationInfo) -> int:
        period = others.data.get("period", active)
        if active > period:
            raise ValueError(f"expected at most attack.period = {period}")
        return active
