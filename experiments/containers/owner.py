"""Give up root for the owner of a folder of the host, so that results belong to whoever started the run."""

from __future__ import annotations

import os
from pathlib import Path

GROUP = 10001
"""The image's own group: all that the volumes hold is its."""


def become_owner(folder: Path) -> None:
    """From root without capabilities to ``folder``'s owner, beside it in the image's group; others stay.

    A folder that belongs to root, as Docker makes one that is missing, leaves root without capabilities.
    """
    if os.getuid() != 0:
        return
    owner = folder.stat()
    os.setgroups([GROUP])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
