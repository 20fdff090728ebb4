"""What all parts share. Importing it says which Python FedSieve needs, before anything else fails."""

import os
import sys

LEAST, BEYOND = (3, 11), (3, 15)


def wrong_python(version: tuple[int, ...]) -> str:
    """Why FedSieve does not run on this ``version``; empty where it does."""
    if LEAST <= version < BEYOND:
        return ""
    given, least, last = (f"{one[0]}.{one[1]}" for one in (version, LEAST, (BEYOND[0], BEYOND[1] - 1)))
    return f"Python {given}: FedSieve needs {least} to {last}; make an environment with one of these"


if _WRONG := wrong_python(tuple(sys.version_info[:2])):
    raise ImportError(_WRONG)

# Large tensors on pages of 2 MiB, where the kernel has them: it maps a five-hundredth as many. PyTorch reads
# this with its first tensor; what a user has set stays (docs/performance.md).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
