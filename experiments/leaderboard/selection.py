"""``--only``: the cells of a protocol that one machine computes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from common.errors import ConfigError, choices

LABELS = {
    "data": "data",
    "model": "model",
    "rule": "aggregator",
    "attack": "attack",
    "share": "malicious_share",
    "seed": "seed",
}
"""What ``--only`` calls a label of a cell."""
Labels = Mapping[str, Any]
Chosen = Mapping[str, Sequence[str]]

_NEXT = re.compile(rf",\s*(?=(?:{'|'.join(LABELS)})=)")
"""The comma between two choices; that of ``adaptive(mode=row, copies=2)`` is none."""


def parse(texts: Iterable[str]) -> Chosen:
    """``data=ml-100k,rule=sieve``; of a key that comes again any value will do. Raises ConfigError."""
    found: dict[str, list[str]] = {}
    for text in texts:
        for part in _NEXT.split(text):
            key, sign, value = part.partition("=")
            if not sign or key.strip() not in LABELS:
                raise ConfigError(
                    f"--only {part!r}{choices(key.strip(), list(LABELS))}; as in data=ml-100k,rule=sieve"
                )
            found.setdefault(key.strip(), []).append(value.strip())
    return found


def check(chosen: Chosen, cells: Sequence[Labels]) -> None:
    """Raise ConfigError for a value that no cell has, and for a choice that together fits no cell."""
    for key, values in chosen.items():
        names = {text for cell in cells for text in _names(key, cell[LABELS[key]])}
        for value in values:
            if _as_name(key, value) not in names:
                raise ConfigError(f"--only {key}={value}{choices(value, sorted(names), 30)}")
    if not any(fits(chosen, cell) for cell in cells):
        raise ConfigError(f"--only {command(chosen)}: no cell of the protocol has all of this")


def fits(chosen: Chosen, cell: Labels) -> bool:
    """Whether a cell has one of the values of every key."""
    return all(
        any(_as_name(key, value) in _names(key, cell[LABELS[key]]) for value in values)
        for key, values in chosen.items()
    )


def command(chosen: Chosen) -> str:
    """The argument of ``--only`` that chooses the same."""
    return ",".join(f"{key}={value}" for key, values in chosen.items() for value in values)


def _names(key: str, label: Any) -> tuple[str, ...]:
    """A label, and the bare name of what has parameters: ``adaptive`` is every adaptive attack."""
    text = f"{label:g}" if isinstance(label, float) else str(label)
    return (text, text.partition("(")[0]) if key in ("attack", "rule", "model") else (text,)


def _as_name(key: str, value: str) -> str:
    """Numbers are the same however they are written: 0.20, .2 and 20 %."""
    if key not in ("share", "seed"):
        return value
    number, percent, _ = value.partition("%")
    try:
        return f"{float(number) / (100 if percent else 1):g}"
    except ValueError:
        return value
