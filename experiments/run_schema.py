"""What the files of a run hold, so that one that was cut, changed or is of another version is told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import CheckpointError
from common.explain import value_text
from common.tasks import ACCURACY, CUTS

Values = dict[str, float]


def _with(*names: str, empty: bool = True) -> AfterValidator:
    """Values that have all of these names, or, where they may be ``empty``, none at all."""

    def check(found: dict[str, Any]) -> dict[str, Any]:
        for name in names if found or not empty else ():
            if name not in found:
                raise ValueError(f"{name} is missing")
        return found

    return AfterValidator(check)


Accuracy = Annotated[Values, _with(*ACCURACY)]
Lists = Annotated[
    Values, _with(*(f"{n}@10" for n in ("coverage", "gini", "popularity", "novelty")), empty=False)
]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Exposure = Annotated[Values, _with(*(f"er@{k}" for k in CUTS))]


def _number(found: dict[str, Any], name: str) -> None:
    if name not in found:
        raise ValueError(f"{name} is missing")
    if type(found[name]) not in (float, int):
        raise ValueError(f"{name} cannot be {value_text(found[name])}")


Ends = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Part(BaseModel):
    """Part of a file; what else it holds is nobody's business here."""

    model_config = ConfigDict(strict=True, extra="allow")


class _OverNodes(_Part):
    median: Accuracy
    trimmed_mean: Accuracy


class _Intervals(_Part):
    level: float
    devices: int
    resamples: int
    hr: Ends = Field(alias="hr@10")
    ndcg: Ends = Field(alias="ndcg@10")
    mrr: Ends


class _ItemGroup(_Part):
    items: int
    devices: int


class _Extension(_Part):
    at: int
    rounds: int
    to: int


class _Title(_Part):
    title: str = ""


class Summary(_Part):
    """``summary.json``: what every run says of itself, and what some add."""

    protocol: str
    data: str
    model: str
    aggregator: str
    attack: str
    malicious_share: float
    targets: list[str]
    targets_asked: bool = True
    seed: int
    rounds: int
    extended: list[_Extension] = []
    seconds: float
    seconds_evaluation: float = 0
    data_digest: str = ""
    started_in: str = ""
    idle_share: float = 0
    device_updates_per_second: float = 0
    bytes_up: int = 0
    bytes_down: int = 0
    peak_rss_mb: float = 0
    evaluated_devices: int = 0
    test_randomised_devices: int = 0
    test_widened: float = 0
    valid: Accuracy = {}
    test: Accuracy = {}
    quartiles: dict[str, Accuracy] = {}
    floors: dict[str, Accuracy] = {}
    floors_unfiltered: dict[str, Accuracy] = {}
    floor_devices: int = 0
    test_over_nodes: _OverNodes | None = None
    intervals: _Intervals | None = None
    beyond: Lists = {}
    item_groups: dict[str, _ItemGroup] = {}
    more_cuts: Values = {}
    exposure_by_target: dict[str, Exposure] = {}
    target_items: dict[str, _Title] = {}
    group: str = ""

    @model_validator(mode="after")
    def _exposure(self) -> Summary:
        found = self.model_extra or {}
        for first, kinds in {"er@10": ("er", "t_ndcg"), "er_group@10": ("er_group",)}.items():
            for name in (f"{kind}@{k}" for kind in kinds for k in CUTS if first in found):
                _number(found, name)
        if self.floors and "floor_devices" not in self.model_fields_set:
            raise ValueError("floor_devices is missing")
        return self


class MetricsLine(_Part):
    """A line of ``metrics.jsonl``: of a round, or of an evaluation after it."""

    round: Whole
    split: str = ""
    seconds: float = 0
    skipped: bool = False

    @model_validator(mode="after")
    def _drawn(self) -> MetricsLine:
        found = self.model_extra or {}
        for name in {"ndcg@10", "er@10", "seconds_exchange"} & found.keys():
            _number(found, name)
        return self


class AuditLine(_Part):
    """A line of ``audit.jsonl``: what became of a device or, with ``device`` null, of a whole reply."""

    round: Whole
    node: Annotated[int, Field(ge=0, lt=2**64)]
    device: Whole | None
    verdict: str
    reason: str = ""
    detail: str = ""
    user: str | None = None
    weight: float | None = None
    seconds_held: float | None = None
    evaluation: str = ""


def checked(kind: type[BaseModel], text: str, path: Path, line: int = 0) -> dict[str, Any]:
    """What the JSON ``text`` of ``path`` says, which must be a ``kind``.

    Raises CheckpointError that names the part, and the line where it is one of several.
    """
    where = f"line {line}: " if line else ""
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {where}not JSON") from error
    try:
        kind.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, given = ".".join(map(str, first["loc"])), value_text(first["input"])
        told = {
            "missing": f"{name} is missing",
            "value_error": ": ".join(filter(None, (name, str(first.get("ctx", {}).get("error"))))),
        }.get(first["type"], f"{name or 'it'} cannot be {given}")
        raise CheckpointError(f"{path} is damaged, or of another version: {where}{told}") from error
    return found
