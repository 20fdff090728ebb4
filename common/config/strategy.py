"""Settings of the server."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from common.config.fields import Count, Named, Positive, Section, Several, Share, auto_or_list, listed
from common.registry import Component


class StrategyConfig(Section):
    """The server's recipe: admission, aggregation, constraints, server step."""

    aggregator: Named = Field(
        Component(name="sieve"), description="the rule, see `fedsieve list aggregators`"
    )
    pre: Several = Field((), description="what mixes updates before the rule, `fedsieve list pre`")
    byzantine: Annotated[float, Field(ge=0)] = Field(
        0.2, description="attackers that rules which need it are told: a share below 1, or a number"
    )
    constraints: Annotated[tuple[Named, ...] | Literal["auto"], BeforeValidator(auto_or_list)] = Field(
        "auto", description="limits on the server step, in their order; auto: those of the rule's own recipe"
    )
    optimizer: Named = Field(
        Component(name="adam"), description="the server step, see `fedsieve list optimizers`"
    )
    lr: Annotated[float, Field(gt=0)] = Field(1.2e-2, description="rate of the server step")
    warmup_rounds: Count = Field(10, description="rounds over which the rate rises from 0")
    decay_from: Share = Field(0.4, description="share of the rounds after which the rate falls to 0")
    deadline_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="seconds that a round waits for replies"
    )
    min_replies: Positive = Field(1, description="admitted updates below which a round is skipped")
    oversample: Annotated[float, Field(ge=1)] = Field(
        1.0, description="devices asked, over those wanted: some are expected not to answer"
    )
    secret: str = Field(
        "",
        exclude=True,  # in no file, result or log
        repr=False,
        description="makes the server's draws repeatable, for emulations; empty: a fresh key for each run",
    )
    quota: Count = Field(0, description="devices one node may stand for; 0: a tenth of all, or so")
    newcomer_rounds: Count = Field(
        20, description="rounds over which a node that comes late gains its full share; 0: at once"
    )
    close_at: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of the replies at which a round ends before its deadline"
    )
    max_history: Positive = Field(1000, description="longest history that a device may claim")
    trusted_nodes: Annotated[tuple[Count, ...], BeforeValidator(listed)] = Field(
        (), description="nodes of the operator: the root of `fltrust`"
    )
    wait_nodes: Positive = Field(1, description="nodes that must be there before the first round")
    wait_s: Annotated[float, Field(ge=0)] = Field(60.0, description="seconds to wait for them")

    @field_validator("byzantine")
    @classmethod
    def _share_or_number(cls, byzantine: float) -> float:
        if byzantine >= 1 and byzantine % 1:
            raise ValueError("expected a share below 1 or a whole number of devices")
        return byzantine
