"""What this machine has, and what this process took of it."""

from __future__ import annotations

import ctypes
import os
import sys

import psutil

MIB = 1 << 20
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Numbers of glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Let this process keep what it frees: the tensors of the next round take it again.

    By default glibc gives free blocks back to the kernel, which clears every page of the next one: a seventh
    of a run on Amazon Beauty. Now it keeps up to 256 MiB, and blocks of over 32 MiB go back as before: kept,
    they would leave gaps. For programs, as it concerns the whole process. Does nothing where the C library is
    another, or where the environment has settings for its malloc.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")) for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, 32 * MIB)  # glibc takes no more
    mallopt(M_TRIM_THRESHOLD, 256 * MIB)
    mallopt(M_TOP_PAD, 16 * MIB)


def cores() -> int:
    """Cores that this process may use; all of the machine where the system does not say (macOS)."""
    process = psutil.Process()
    allowed = len(process.cpu_affinity() or ()) if hasattr(process, "cpu_affinity") else 0
    return allowed or psutil.cpu_count() or 1


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
