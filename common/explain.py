"""What is wrong with settings, in words of the settings: the field, what is valid there, what was given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from common.errors import choices
from common.registry import Component

LONGEST = 60
"""Characters of a given value that an error repeats."""
ONE, TWO = "a name, or {name: …, parameter: …}", "names, or {name: …, parameter: …}"
KINDS = {bool: "true or false", str: "text", Path: "a path", NoneType: "nothing"}
NUMBERS = {int: "a whole number", float: "a number"}


class Words(NamedTuple):
    """What errors and the page of settings call one value of a type, and several: part of its Annotated."""

    one: str
    several: str


def problems(
    model: type[BaseModel],
    error: ValidationError,
    given: object = None,
    shown: Callable[[object], str] | None = None,
) -> list[str]:
    """One line a setting that is wrong: ``train.rounds: expected a whole number … (given: -3)``.

    given: the tree that was read as ``model``, to repeat what stands at a place. shown: how a value is
    repeated, in place of :func:`value_text`.
    """
    told: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        place, kind = _walk(model, problem["loc"])
        name = ".".join(place)[:LONGEST]
        if problem["type"] == "extra_forbidden":
            text = f"unknown setting {name}{nearest(model, name)}"
        else:
            text = (
                f"{name}: " * bool(name)
                + f"{_problem(problem, kind, _at(given, place, problem['input']), shown or value_text)}"
            )
        numbered = bool(place) and place[-1].isdigit()  # of the values of one list the first that is wrong
        told.setdefault(".".join(place[:-1]) if numbered else name, text)
    return list(told.values())


def nearest(model: type[BaseModel], unknown: str) -> str:
    """The end of an error: the setting that was meant, if one is near, and those of the same group."""
    group, _, leaf = unknown.rpartition(".")
    valid, every = _beside(model, group), list(names(model))
    same = [name for name in every if name.rpartition(".")[2] == leaf]
    near = same or get_close_matches(unknown, [*valid, *every], 1, 0.7)
    return choices(unknown, valid, near=near[0] if near else "")


def names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted name of a setting."""
    for name, field in model.model_fields.items():
        inner = _model(field.annotation)
        if inner is None or inner is Component:
            yield prefix + name
        else:
            yield from names(inner, f"{prefix}{name}.")


def _beside(model: type[BaseModel], group: str) -> list[str]:
    """The names at the top of ``model``, or within ``group``, with the group before them."""
    _, kind = _walk(model, [int(part) if part.isdecimal() else part for part in group.split(".") if group])
    inner = model if not group else _model(kind)
    if inner is None:
        return []
    model = inner
    return [f"{group}.{name}" if group else name for name in model.model_fields]


def expected(field: FieldInfo) -> str:
    """What is valid: ``a whole number from 1 to 500``, ``full, slice or device``, ``a list of names, …``."""
    return _kind(_annotated(field))


def _annotated(field: FieldInfo) -> Any:
    """The type of a setting with its limits, which pydantic keeps beside it."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _kind(kind: Any, limits: Sequence[Any] = (), several: bool = False) -> str:
    if hasattr(kind, "__metadata__"):  # Annotated
        return _kind(kind.__origin__, [*kind.__metadata__, *limits], several)
    if words := next((one for one in limits if isinstance(one, Words)), None):
        return words.several if several else words.one
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return any_of([str(part) for part in parts])
    if origin in (Union, UnionType):
        return ", or ".join(dict.fromkeys(_kind(part, limits) for part in parts))
    if origin in (tuple, list):
        most = next((f" at most {one.max_length}" for one in limits if _has(one, "max_length")), "")
        return f"a list of{most} {_kind(parts[0], several=True)}"
    inner = _model(kind)
    if inner is Component:
        return TWO if several else ONE
    if inner is not None:
        return f"settings {{{', '.join(f'{name}: …' for name in inner.model_fields)}}}"
    if kind in NUMBERS:
        number = "whole numbers" if several and kind is int else "numbers" if several else NUMBERS[kind]
        return f"{number}{_limits(limits)}"
    return KINDS.get(kind, "a mapping {name: value}" if origin is dict else "something else")


def _limits(limits: Sequence[Any]) -> str:
    flat = [inner for one in limits for inner in (one.metadata if isinstance(one, FieldInfo) else [one])]
    ends = {key: getattr(one, key) for one in flat for key in ("ge", "gt", "le", "lt") if _has(one, key)}
    low = f" from {ends['ge']:,}" if "ge" in ends else f" above {ends['gt']:,}" if "gt" in ends else ""
    if "lt" in ends:
        return f"{low}{',' if low else ''} below {ends['lt']:,}"
    if "le" not in ends:
        return low
    return f"{low}, at most {ends['le']:,}" if "gt" in ends else f"{low} to {ends['le']:,}"


def any_of(words: Sequence[str]) -> str:
    """``a, b or c``."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def value_text(value: object) -> str:
    """A value as YAML has it, cut where it is long."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _problem(problem: Mapping[str, Any], kind: Any, given: object, shown: Callable[[object], str]) -> str:
    if problem["type"] == "value_error":  # the words of a validator of ours
        told = re.sub("^Value error, ", "", problem["msg"])
        return told if isinstance(given, Mapping) else f"{told} (given: {shown(given)})"
    wanted = "settings" if kind is None else _kind(kind)
    if problem["type"] == "missing" and kind is not None and _model(kind) is not Component:
        return f"missing; expected {wanted}"
    words = [word for word in get_args(_bare(kind)) if isinstance(word, str)]
    near = get_close_matches(given[:LONGEST], words, 1) if isinstance(given, str) else []
    question = f"; did you mean {near[0]!r}?" if near else ""
    return f"expected {wanted} (given: {shown(given)}{question})"


def _walk(model: type[BaseModel], loc: Sequence[int | str]) -> tuple[list[str], Any]:
    """The place of an error without pydantic's own parts, and the type that is valid there.

    A component is one place, whatever is wrong within it. Below a setting with several forms every form has
    an error of its own: they count as one, of the setting.
    """
    place: list[str] = []
    kind: Any = model
    for part in loc:
        inner = _model(kind)
        if inner is Component or get_origin(_bare(kind)) in (Union, UnionType):
            break
        if inner is not None and part in inner.model_fields:
            place.append(str(part))
            kind = _annotated(inner.model_fields[str(part)])
        elif isinstance(part, int) and get_args(_bare(kind)):
            place.append(str(part))
            kind = get_args(_bare(kind))[0]
        elif inner is not None:
            place.append(str(part))
            kind = None
    return place, None if kind is model else kind


def _bare(kind: Any) -> Any:
    """The type without the limits around it."""
    return kind.__origin__ if hasattr(kind, "__metadata__") else kind


def _model(kind: Any) -> type[BaseModel] | None:
    """The model that ``kind`` is, perhaps with limits around it."""
    kind = _bare(kind)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _at(tree: object, place: Sequence[str], fallback: object) -> object:
    """What stands at ``place`` in what was given; ``fallback`` where that is no part of it."""
    for name in place:
        if isinstance(tree, Mapping) and name in tree:
            tree = tree[name]
        elif isinstance(tree, list | tuple) and name.isdecimal() and int(name) < len(tree):
            tree = tree[int(name)]
        else:
            return fallback
    return tree


def _has(limit: object, key: str) -> bool:
    return getattr(limit, key, None) is not None
