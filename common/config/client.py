"""Settings of honest devices."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from common.config.fields import Section, Several
from common.config.limits import MAX_DIM, MAX_NEGATIVES, MAX_REGULARISERS


class ClientConfig(Section):
    """What honest devices add to their loss and take from their update."""

    regularisers: Annotated[Several, Field(max_length=MAX_REGULARISERS)] = Field(
        (), description="terms added to the loss, see `fedsieve list regularisers`"
    )
    clip: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 bound of an update; 0 is off")
    noise: Annotated[float, Field(ge=0)] = Field(0.0, description="Gaussian σ as a multiple of clip")
    decoys: Annotated[int, Field(ge=0, le=MAX_NEGATIVES)] = Field(
        0, description="rows of no next item that a device moves like those of one"
    )
    quantise: Literal["none", "sign", "top_k"] = Field("none", description="how rows are coarsened")
    top_k: Annotated[int, Field(ge=1, le=MAX_DIM)] = Field(
        8, description="coordinates of each row that `quantise: top_k` keeps"
    )

    @field_validator("noise")
    @classmethod
    def _with_a_bound(cls, noise: float, others: ValidationInfo) -> float:
        if noise > 0 and not others.data.get("clip", 1.0):
            raise ValueError("expected client.clip above 0 beside it: noise is a multiple of clip")
        return noise
