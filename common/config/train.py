"""Settings of a round: who trains what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from common.config.fields import Section, Share
from common.config.limits import MAX_DEVICES, MAX_NEGATIVES, MAX_ROUNDS, MAX_SLICE, MAX_SLICES, MAX_STEPS


def _without_parameters(value: object) -> object:
    """A loss may be written ``{name: gbce}``, as any component; none has parameters."""
    return value["name"] if isinstance(value, Mapping) and set(value) == {"name"} else value


def _slice_size(value: object) -> object:
    """One sentence for both that are valid; of a union pydantic would tell of each by itself."""
    if value == "auto" or (type(value) is int and 1 <= value <= MAX_SLICE):
        return value
    raise ValueError(f"expected auto or a whole number from 1 to {MAX_SLICE:,}")


class TrainConfig(Section):
    """The protocol of a round (docs/method.md): who trains what."""

    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)] = Field(600, description="server steps of the run")
    devices_per_round: Annotated[int, Field(ge=1, le=MAX_DEVICES)] = Field(
        256, description="devices that are asked in a round"
    )
    negatives: Literal["full", "slice", "device"] = Field(
        "slice",
        description="what a device scores beside its next items: the whole catalogue, the round's slice, or "
        "items that it draws",
    )
    slice_size: Annotated[int | Literal["auto"], BeforeValidator(_slice_size)] = Field(
        512,
        description="items of a slice, or auto: as many as keep `busy_share` of the devices busy",
    )
    busy_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.6, description="with `slice_size: auto`: devices of a round that find a next item in the slice"
    )
    slices: Annotated[int, Field(ge=1, le=MAX_SLICES)] = Field(
        1,
        description="disjoint slices that a round draws; a device trains the one with most of its next items",
    )
    slice_power: Annotated[float, Field(ge=0, le=2)] = Field(
        0.5, description="items enter a slice by (popularity + 5)^power; 0 is uniform"
    )
    slice_correction: bool = Field(True, description="subtract log q from the logits of a drawn slice")
    device_negatives: Annotated[int, Field(ge=1, le=MAX_NEGATIVES)] = Field(
        64, description="own negatives with `negatives: device`"
    )
    local_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = Field(
        1, description="gradient steps on a device"
    )
    local_lr: Annotated[float, Field(gt=0)] = Field(1.0, description="rate of a local step")
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32", description="of the products of local training; `tf32` needs an NVIDIA card"
    )
    loss: Annotated[
        Literal["softmax", "sampled_softmax", "bce", "gbce"], BeforeValidator(_without_parameters)
    ] = Field("softmax", description="of the next item among the candidates")
    calibration: Share = Field(0.75, description="t of `loss: gbce`: 0 is bce, 1 undoes the sampling")
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of each label that all items of the slice have alike; of the softmax losses"
    )
    targets: Literal["all", "last"] = Field(
        "all", description="next items of a window that the loss is at: each, or the last one alone"
    )
    patience: Annotated[int, Field(ge=0, le=MAX_ROUNDS)] = Field(
        0,
        description="evaluations on validation without a better NDCG@10 after which the run ends; the model "
        "kept is then the best one; 0: off, all rounds and the last model",
    )
    window: Literal["last", "random"] = Field(
        "random", description="which part of a history longer than `model.max_len` a device trains on"
    )

    @field_validator("label_smoothing")
    @classmethod
    def _of_softmax(cls, smoothing: float, others: ValidationInfo) -> float:
        loss = others.data.get("loss", "softmax")
        if smoothing and "softmax" not in loss:
            raise ValueError(f"expected 0 beside train.loss: {loss}; softmax and sampled_softmax have it")
        return smoothing

    @field_validator("slices")
    @classmethod
    def _only_of_slices(cls, slices: int, others: ValidationInfo) -> int:
        negatives = others.data.get("negatives", "slice")
        if slices > 1 and negatives != "slice":
            raise ValueError(f"expected 1 beside train.negatives: {negatives}, which draws no slice")
        return slices
