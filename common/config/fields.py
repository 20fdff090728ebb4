"""What sections of settings are made of: their base, a section of a component, and types of a setting."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from common.items import PICKED
from common.registry import Component, as_component


class Section(BaseModel):
    """A group of settings; immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        """``attack.share: yes`` would be 1.0, all devices."""
        wanted = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and wanted in (int, float):
            raise ValueError("expected a whole number" if wanted is int else "expected a number")
        return value


def one_component(value: object) -> object:
    """A component; of a list with one, that one."""
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return as_component(value)


def listed(value: object) -> object:
    """A list, also where one thing stands alone; ``none`` is an empty one."""
    if value is None or value == "none":
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def word_or_list(value: object) -> object:
    """A word that picks items also as a list of it, and one item as a list of one."""
    if isinstance(value, list | tuple) and len(value) == 1 and value[0] in PICKED:
        return value[0]
    return listed(value) if isinstance(value, int | str) and value not in PICKED else value


def auto_or_list(value: object) -> object:
    return "auto" if value in ("auto", ["auto"]) else listed(value)


Named = Annotated[Component, BeforeValidator(one_component)]
Several = Annotated[tuple[Named, ...], BeforeValidator(listed)]


def no_truth(value: object) -> object:
    """``yes`` would be 1."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


Share = Annotated[float, BeforeValidator(no_truth), Field(ge=0, le=1)]
Positive = Annotated[int, BeforeValidator(no_truth), Field(ge=1)]
Count = Annotated[int, BeforeValidator(no_truth), Field(ge=0)]
Numbers = Annotated[tuple[Positive, ...], BeforeValidator(listed)]


class OfComponent(Section):
    """A section that is a component with settings around it: its name, ``params``, what all of the kind have.

    ``{name: sign_flip, scale: 3}``: what is no setting of the section is a parameter of the component, unless
    it looks like a misspelt setting. An instance brings its parameters.
    """

    closed: ClassVar[tuple[str, ...]] = ()
    """Components that have no parameters of their own."""
    shared: ClassVar[tuple[str, ...]] = ()
    """Settings of the section that instances are built with."""

    @model_validator(mode="before")
    @classmethod
    def _grammar(cls, value: object) -> object:
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        if isinstance(value, BaseModel) and not isinstance(value, Component):
            return value
        given = value.model_dump() if isinstance(value, Component) else as_component(value)
        if not isinstance(given, Mapping):
            return given
        if isinstance(name := given.get("name"), list | tuple) and len(name) == 1:
            given = value = {**given, "name": name[0]}
        settings = cls.model_fields if given is value else ("name", *cls.shared)
        own = {key: one for key, one in given.items() if key not in settings}
        if given is value:
            own = {key: one for key, one in own.items() if not get_close_matches(key, settings, 1, 0.8)}
        params = given.get("params", {}) if given is value else {}
        if not own or not isinstance(params, Mapping) or given.get("name", "none") in cls.closed:
            return given
        return {**{k: v for k, v in given.items() if k not in own}, "params": {**params, **own}}
