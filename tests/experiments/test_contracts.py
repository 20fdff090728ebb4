"""Every registered component keeps the promises of its kind, as ``fedsieve check`` tests them."""

from __future__ import annotations

import pytest

from experiments.contracts import KINDS, Check, builder, checks_of, registry_of, written_down

pytestmark = (
    pytest.mark.no_cover
)  # hundreds of rounds; test_outside_components.py has every kind under the tracer

PROMISES = [
    pytest.param(kind, name, check, id=f"{kind}-{name}-{check.__name__}")
    for kind in KINDS
    for name in sorted(registry_of(kind))
    for check in checks_of(kind)
]


@pytest.mark.parametrize(("kind", "name", "check"), PROMISES)
def test_a_promise_is_kept(kind: str, name: str, check: Check) -> None:
    check(builder(kind, name, {}))


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS if kind != "model" for name in registry_of(kind)]
)
def test_an_instance_can_be_written_down(kind: str, name: str) -> None:
    written_down(registry_of(kind), builder(kind, name, {}))


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_says_what_is_promised(kind: str) -> None:
    told = [check.__doc__ for check in checks_of(kind)]
    assert all(text and text.strip().endswith(".") for text in told)
    assert len(set(told)) == len(told)
