"""Where figures that are kept in docs were measured."""

from __future__ import annotations

import os
import platform

import torch


def made_on(load: str) -> dict[str, str]:
    """This machine, and what else it did meanwhile."""
    version = torch.__version__.partition("+")[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, PyTorch {version} on the CPU"
    return {"machine": machine, "load": load}
