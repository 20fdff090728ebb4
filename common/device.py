"""Where tensors live: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, resolved once for a server or a node."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from common.errors import ConfigError

CPU = torch.device("cpu")
GRAMMAR = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
VALID = "auto, cpu, cuda or cuda:N"


def available() -> list[str]:
    """What this machine has: ``cpu`` and its GPUs."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["cpu", *(f"cuda:{number}" for number in range(gpus))]


def resolve(name: str, setting: str = "device") -> torch.device:
    """The device that ``name`` means here, with its number; ``auto`` is the first GPU, or the CPU.

    Raises ConfigError, which names ``setting`` and the devices there are.
    """
    found = available()
    wanted = {"auto": found[min(1, len(found) - 1)], "cuda": "cuda:0"}.get(name, name)
    if not GRAMMAR.fullmatch(name):
        raise ConfigError(f"{setting} is {name!r}; valid: {VALID}; this machine has {', '.join(found)}")
    if wanted not in found:
        raise ConfigError(f"{setting} is {name!r}; this machine has {', '.join(found)}")
    return torch.device(wanted)


def title(device: torch.device) -> str:
    """The device and, of a GPU, what card it is."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def add_rows(total: Tensor, index: Tensor, values: Tensor) -> None:
    """total[index_i] += values_i, in place, for index int64 [m] with repetitions, values [m, …].

    The same bits each time: on a GPU ``index_add_`` adds in any order, and ``index_put_`` sorts first.
    """
    if total.device == CPU:
        total.index_add_(0, index, values)
    else:
        total.index_put_((index,), values, accumulate=True)
