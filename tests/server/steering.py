"""Device numbers that a node chooses so that a known key draws them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from common.seeding import Key, generator


def places(key: Key, round_: int, everyone: int, drawn: int) -> list[int]:
    """Which places in the order of all device numbers ``key`` draws."""
    return torch.randperm(everyone, generator=generator(key, "devices", round_))[:drawn].tolist()


def steered(key: Key, round_: int, honest: Sequence[int], held: int, drawn: int) -> list[int]:
    """``held`` numbers that make as many of the liar's devices as may be fall on the places that are drawn.

    Devices are drawn by their place in the order of all numbers; where the honest ones (ascending) leave a
    gap before a place that will be drawn, the liar puts a number of its own.
    """
    everyone = len(honest) + held
    wanted = set(places(key, round_, everyone, drawn))
    own, passed = list[int](), 0
    for place in range(everyone):
        free = max(honest[passed - 1] if passed else 0, own[-1] + 1 if own else 0)
        fits = passed == len(honest) or free < honest[passed]
        if place in wanted and fits and len(own) < held:
            own.append(free)
        elif passed < len(honest):
            passed += 1
    return sorted({*own, *range(10**6, 10**6 + held - len(own))})


def draws(key: Key, round_: int, honest: Sequence[int], own: Sequence[int], drawn: int) -> int:
    """How many of the devices drawn would be the liar's, if it had these numbers."""
    order = sorted([*honest, *own])
    return sum(order[place] in own for place in places(key, round_, len(order), drawn))
