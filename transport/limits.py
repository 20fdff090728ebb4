"""What the SuperLink takes, set by the environment: it inherits it to the ServerApp, which plans with it."""

from __future__ import annotations

import os

from common.errors import ConfigError

MESSAGE_MB = "FEDSIEVE_FLEET_MESSAGE_MB", 32
"""The largest message of the Fleet API: Flower sends arrays in chunks of 5 MiB."""

REPLY_MB = "FEDSIEVE_FLEET_REPLY_MB", 2048
"""What a node may upload for one reply, all its objects together."""

MAX_NODES, MAX_DEPTH = 1024, 8
"""Objects of a reply: message, records, eight arrays, their chunks of 5 MiB; five levels."""


def megabytes(setting: tuple[str, int]) -> int:
    """Bytes of a setting in MiB from the environment, or its default. Raises ConfigError for nonsense."""
    name, default = setting
    text = os.environ.get(name, "").strip() or str(default)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1 << 20):
        raise ConfigError(f"{name}: a whole number of MiB from 1 to 1048576, given {text[:40]!r}")
    return int(text) << 20
