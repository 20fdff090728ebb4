"""What this machine has, and what this process took of it."""

from __future__ import annotations

import os
import sys

import psutil

MIB = 1 << 20


def cores() -> int:
    """Cores that this process may use; all of the machine where the system does not say (macOS)."""
    process = psutil.Process()
    allowed = len(process.cpu_affinity() or ()) if hasattr(process, "cpu_affinity") else 0
    return allowed or psutil.cpu_count() or 1


def thread_limit() -> int:
    """OMP_NUM_THREADS, the threads that a process may have; :func:`cores` where it is no number above 0."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else cores()


def available_mib() -> float:
    """Memory that new processes can have without swapping, MiB, as the system estimates it."""
    return float(psutil.virtual_memory().available) / MIB


def peak_cuda_mib() -> float:
    """The most memory of one card that this process ever had at once, MiB; 0 where it used none."""
    import torch  # who asks only for cores need not wait for it

    if not torch.cuda.is_available() or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return 0.0
    return max(torch.cuda.max_memory_allocated(card) for card in range(torch.cuda.device_count())) / MIB


def peak_mib() -> float:
    """The most memory that this process ever had at once, MiB."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / MIB
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MIB if sys.platform == "darwin" else 1024)  # bytes there, KiB on Linux
